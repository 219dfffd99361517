//! A machine that builds, whatever protocol it speaks.

mod check;
pub(crate) mod keeper;
pub(crate) mod musher;
pub(crate) mod serve;
pub(crate) mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use musher_protocol::types::{BuildResult, PathInfo};
use musher_protocol::worker::Trust;
use musher_store::{NarStream, StoreError, WorkerConnection};
use nix_derivation::StorePath;
use tokio::time::timeout;

use crate::attempt::{LogSink, Order};
use crate::build::Measured;
use crate::held_outputs::HeldOutputs;
use crate::home::HomeError;

/// What a machine said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuilderInfo {
    /// Its version of Nix, where it says so.
    pub(crate) nix_version: Option<String>,
    /// The protocol and its version: `worker 1.38`.
    pub(crate) protocol: String,
    /// Whether it trusts us.
    pub(crate) trust: Option<Trust>,
}

/// How long a machine may take to say whether it trusts us: one without an
/// answer in time would be waited for as if it were being connected to.
const TRUST_BOUND: Duration = Duration::from_secs(10);

/// Asks whether the nix-daemon at the other end trusts us.
async fn ask_trust(connection: &mut WorkerConnection) -> Result<Trust, StoreError> {
    let answer = timeout(TRUST_BOUND, connection.trust()).await;
    answer.unwrap_or_else(|_| {
        Err(StoreError::Silent {
            command: "nix-daemon".to_owned(),
            after: TRUST_BOUND,
        })
    })
}

/// A build that came to an end on a machine.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) result: BuildResult,
    /// Infos of its valid outputs, by output name.
    pub(crate) outputs: BTreeMap<String, PathInfo>,
    /// Keeps the outputs there; none after a failure.
    pub(crate) held: Option<HeldOutputs>,
    /// What it used, where the machine measures that.
    pub(crate) measured: Option<Measured>,
    /// Where its build directory was kept.
    pub(crate) kept_dir: Option<String>,
}

impl Outcome {
    /// A build that ended without outputs.
    pub(crate) fn failed(result: BuildResult) -> Self {
        Self {
            result,
            outputs: BTreeMap::new(),
            held: None,
            measured: None,
            kept_dir: None,
        }
    }
}

/// An attempt that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The connection failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Inputs that the machine was known to hold are gone. That is nobody's
    /// fault: it may collect what it likes.
    #[error("it lost {} inputs that it held, such as `{}`", .0.len(), .0[0])]
    LostInputs(Vec<StorePath>),
    /// A worker of ours says that the machine was to blame, not the build.
    #[error("{what}: {text}")]
    Machine {
        /// What kind of fault it is.
        what: &'static str,
        /// What the worker said.
        text: String,
    },
    /// A worker of ours says that its machine's memory was not enough.
    #[error("its memory was not enough: {text}")]
    OutOfMemory {
        /// What the worker said.
        text: String,
        /// The most that the build took, in bytes, where that is known.
        peak: Option<u64>,
    },
    /// What the derivation comes from could not be found.
    #[error("cannot send it the derivation with all it comes from")]
    Recipe(#[source] Box<HomeError>),
    /// What it needs is sent, and it does not take it.
    #[error("it took nothing of the inputs sent to it for {} min", .after.as_secs() / 60)]
    TakesNothing {
        /// For how long it was waited.
        after: Duration,
    },
    /// What it needs could not be sent.
    #[error("nothing came of its input `{path}` for {} min from where that is", .after.as_secs() / 60)]
    Unfed {
        /// The input.
        path: StorePath,
        /// For how long it was waited.
        after: Duration,
    },
    /// Its worker makes room for a newer one, and begins nothing more until it
    /// has ended what it has. That is nobody's fault.
    #[error("its worker makes room for a newer one")]
    MakesRoom,
    /// What came back cannot be what was built.
    #[error("it answered nonsense: {0}")]
    Nonsense(String),
    /// The log could not be written here.
    #[error("cannot write the build's log")]
    Log(#[source] std::io::Error),
}

/// Makes sure that all `inputs` are `valid`. Of `confirmed` the machine said in
/// this very attempt that it holds them, or it took them.
pub(crate) fn check_inputs(
    inputs: &BTreeSet<StorePath>,
    valid: &BTreeSet<StorePath>,
    confirmed: &BTreeSet<StorePath>,
) -> Result<(), Fault> {
    let lost: Vec<_> = inputs.difference(valid).cloned().collect();
    // To try again because of these could go on for ever.
    if let Some(path) = lost.iter().find(|path| confirmed.contains(*path)) {
        let text = format!("it had input `{path}`, and a moment later it had not");
        return Err(Fault::Nonsense(text));
    }
    match lost.is_empty() {
        true => Ok(()),
        false => Err(Fault::LostInputs(lost)),
    }
}

/// Makes one attempt on `builder`. What it says of the outputs contradicts the
/// order in nothing.
pub(crate) async fn attempt(
    builder: &dyn Builder,
    order: &Order,
    log: &mut LogSink,
) -> Result<Outcome, Fault> {
    let mut outcome = builder.attempt(order, log).await?;
    let store_dir = order.home().store_dir();
    let checked = check::check(&order.spec, &order.closure, store_dir, &mut outcome);
    match checked {
        Ok(()) => Ok(outcome),
        Err(contradiction) => Err(Fault::Nonsense(contradiction.to_string())),
    }
}

/// A machine that builds. Dropping a future of these methods ends what it was
/// doing there, the build program included.
#[async_trait]
pub(crate) trait Builder: Send + Sync {
    /// Connects, and finds out who answers.
    async fn connect(&self) -> Result<BuilderInfo, StoreError>;

    /// Waits until the connection is lost, and says how.
    async fn lost(&self) -> String;

    /// Lets go of everything that is open there.
    async fn disconnect(&self);

    /// Makes one attempt. Input paths that `order.known` lacks are sent first.
    async fn attempt(&self, order: &Order, log: &mut LogSink) -> Result<Outcome, Fault>;

    /// Reads the NAR of a path there.
    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError>;
}
