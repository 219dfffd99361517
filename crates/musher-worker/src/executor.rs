//! Runs what a derivation says: makes the environment Nix makes, has the
//! sandbox run the build program in it, watches over it, and says how it ended
//! and what it used. What becomes of the outputs is `outputs`' affair, who
//! ordered the build and why the service's.

mod admission;
mod attributes;
mod bare;
mod environment;
mod error;
mod finish;
mod host_program;
mod inputs;
mod kind;
mod log_lines;
mod order;
mod prepare;
mod reference_graph;
mod report;
mod request;
mod rewrites;
mod room;
mod run;
mod scratch;
mod settings;
mod site;
mod slots;
mod structured;
mod terminal;
mod verdict;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::{BuildResult, BuildStatus, BuiltOutput};
use musher_sandbox::{Cgroups, Usage};
use musher_store::local::{LocalStore, OutputLocks, Wait};
use nix_derivation::StorePath;
use tokio::task::spawn_blocking;

use self::error::BuildError;
use self::finish::{Finish, Span, infos, now};
use self::prepare::{Asked, Prepared, Ready, prepare};
use self::room::Rooms;
use self::slots::Slots;
use crate::outputs::scratch_paths;

pub use admission::Sandboxing;
pub use host_program::{HostProgramError, host_program, host_shell};
pub use log_lines::LogEvent;
pub use order::BuildOrder;
pub use report::{Fault, Report};
pub use room::RoomError;
pub use settings::{Identities, Settings};
pub use watch::Limits;

/// How often locks that somebody else holds are tried again.
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// Builds derivations in one store. Clones share it.
#[derive(Clone)]
pub struct Executor(Arc<Shared>);

struct Shared {
    store: Arc<LocalStore>,
    settings: Settings,
    cgroups: Cgroups,
    rooms: Rooms,
    slots: Slots,
}

impl Executor {
    /// An executor for `store`. Removes what an earlier one left below its
    /// build root; an error if another one builds there now, or if it is to
    /// build without a sandbox where that cannot be. Looks which control groups
    /// this process may make, for which it may move into one.
    pub fn open(store: Arc<LocalStore>, settings: Settings) -> Result<Self, RoomError> {
        let rooms = Rooms::open(&settings.build_root)?;
        if settings.sandboxing == Sandboxing::Never {
            bare::let_builds_in(&store, &rooms, settings.identities)?;
        }
        Ok(Self(Arc::new(Shared {
            store,
            settings,
            cgroups: Cgroups::discover(),
            rooms,
            slots: Slots::default(),
        })))
    }

    /// Builds what `order` says, in `slot`, and gives its log to `log` as it
    /// comes. At most one build is in a slot at a time: others wait.
    ///
    /// Dropping the future ends every process of the build and removes what it
    /// left; [`vacated`](Self::vacated) says when that is done.
    pub async fn build(
        &self,
        order: BuildOrder,
        slot: u32,
        log: &mut (dyn FnMut(LogEvent<'_>) + Send),
    ) -> Report {
        let order = Arc::new(order);
        match self.try_build(&order, slot, log).await {
            Ok(report) => report,
            Err(error) => not_run(&error),
        }
    }

    /// Waits until nothing is left of what was in `slot`.
    pub async fn vacated(&self, slot: u32) {
        drop(self.0.slots.hold(slot).await);
    }

    async fn try_build(
        &self,
        order: &Arc<BuildOrder>,
        slot: u32,
        log: &mut (dyn FnMut(LogEvent<'_>) + Send),
    ) -> Result<Report, BuildError> {
        let asked = Asked::of(&self.0, order)?;
        let held = self.0.slots.hold(slot).await;
        let locks = self.lock(order).await?;
        let prepared = {
            let (shared, order) = (self.0.clone(), order.clone());
            spawn_blocking(move || prepare(&shared, &order, asked, slot, held, locks))
        };
        let ready = match prepared.await.map_err(BuildError::GivenUp)?? {
            Prepared::AlreadyValid(outputs) => return Ok(self.already_valid(outputs)),
            Prepared::Ready(ready) => *ready,
        };
        let Ready { site, plan, facts } = ready;
        let launcher = self.0.settings.launcher.clone();
        let owner = facts.ids.map(|ids| ids.uid);
        let start = now();
        let ran = run::run(site, plan, launcher, owner, order.limits, log).await?;
        let span = Span { start, stop: now() };
        let (shared, order) = (self.0.clone(), order.clone());
        let finished = spawn_blocking(move || {
            let finish = Finish {
                shared: &shared,
                order: &order,
                facts: &facts,
            };
            finish.finish(ran, span)
        });
        finished.await.map_err(BuildError::GivenUp)
    }

    /// Locks the outputs that have a path, and for others the paths that they
    /// have while they are built: nobody else builds the same meanwhile.
    async fn lock(&self, order: &BuildOrder) -> Result<OutputLocks, BuildError> {
        let Shared { store, .. } = &*self.0;
        let paths = scratch_paths(
            store.store_dir(),
            &order.drv_path,
            &order.derivation,
            &BTreeSet::new(),
        );
        let paths = paths.map_err(BuildError::Scratch)?;
        let paths: BTreeSet<StorePath> = paths.into_values().collect();
        loop {
            let locks = store
                .lock_outputs(&paths, Wait::No)
                .map_err(BuildError::store("lock the outputs"))?;
            match locks {
                Some(locks) => return Ok(locks),
                None => tokio::time::sleep(LOCK_AGAIN).await,
            }
        }
    }

    fn already_valid(&self, outputs: BTreeMap<String, BuiltOutput>) -> Report {
        let result = BuildResult {
            built_outputs: outputs,
            ..BuildResult::new(BuildStatus::AlreadyValid, "")
        };
        Report {
            outputs: infos(&self.0, &result.built_outputs),
            ..no_report(result)
        }
    }
}

impl Shared {
    fn render(&self, path: &StorePath) -> String {
        self.store.store_dir().render_path(path)
    }
}

/// The report of a build that was not run, or not to its end.
fn not_run(error: &BuildError) -> Report {
    let (status, fault) = error.class();
    if fault.is_some() {
        tracing::warn!(error = error.text(), "a build could not be run");
    }
    Report {
        fault,
        ..no_report(BuildResult::new(status, error.text()))
    }
}

fn no_report(result: BuildResult) -> Report {
    Report {
        result,
        outputs: BTreeMap::new(),
        usage: Usage::default(),
        exit: None,
        fault: None,
        sandboxed: true,
        kept: None,
    }
}
