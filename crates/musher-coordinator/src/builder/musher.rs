//! A machine with a worker of Musher's.
//!
//! A build whose inputs are known to be there costs one exchange: the order
//! goes, and the log and the result come back, a short NAR with it. A
//! connection that breaks costs nothing while the worker can be reached again
//! before it counts as lost: attempts are found again by their leases.

mod attempt;
mod interest;
mod result;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use musher_api::limits::SILENCE;
use musher_api::{Versions, worker as api};
use musher_store::{NarStream, Store, StoreError, Substitute};
use nix_derivation::StorePath;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info};

use self::interest::Interests;
use super::{Builder, BuilderInfo, Fault, Outcome};
use crate::attempt::{LogSink, Order};
use crate::worker::{Session, SessionOptions, Way};

/// How long an attempt waits for a worker that makes room for a newer one; that
/// takes as long as what the old one has begun.
pub(crate) const SUCCESSION: Duration = Duration::from_secs(60);

/// A machine with a worker of Musher's.
pub(crate) struct MusherBuilder {
    way: Arc<Way>,
    settings: MusherSettings,
    session: watch::Sender<Option<Arc<Session>>>,
    interests: Interests,
}

/// How a worker is used.
#[derive(Debug, Clone)]
pub(crate) struct MusherSettings {
    /// What tells this coordinator from others.
    pub(crate) coordinator: String,
    /// What builds see besides their inputs, as in `sandbox-paths`.
    pub(crate) sandbox_paths: Vec<String>,
    /// How long it may take until the worker has answered.
    pub(crate) timeout: Duration,
    /// How long an attempt waits for a worker that makes room for a newer one.
    pub(crate) succession: Duration,
    /// What the worker's store shall keep to.
    pub(crate) budget: Option<api::Budget>,
    /// The versions of the protocol to offer.
    pub(crate) versions: Versions,
}

impl MusherBuilder {
    /// The worker at the end of `way`. Must be called within a tokio runtime.
    pub(crate) fn new(way: Way, settings: MusherSettings) -> Self {
        let session = watch::Sender::new(None);
        Self {
            way: Arc::new(way),
            settings,
            interests: Interests::start(session.subscribe()),
            session,
        }
    }

    /// Opens a session in place of the one there was.
    async fn open(&self) -> Result<Arc<Session>, StoreError> {
        let options = SessionOptions {
            coordinator: self.settings.coordinator.clone(),
            wanted: Some(self.interests.wanted()),
            budget: self.settings.budget,
            timeout: self.settings.timeout,
            versions: self.settings.versions.clone(),
        };
        let session = Arc::new(Session::open(self.way.clone(), options).await?);
        self.session.send_replace(Some(session.clone()));
        // The connection for NARs is there before the first one is sent.
        let opened = session.clone();
        tokio::spawn(async move {
            if let Err(error) = opened.bulk().await {
                debug!(
                    error = crate::error_text(&error),
                    "no connection for NARs yet"
                );
            }
        });
        Ok(session)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    /// A session that can begin something; waits a while for one to be opened
    /// where the last has broken, or its worker makes room for a newer.
    async fn session(&self, other_than: Option<&Arc<Session>>) -> Result<Arc<Session>, Fault> {
        let fits = |session: &Option<Arc<Session>>| {
            session.as_ref().is_some_and(|session| {
                session.is_alive() && other_than.is_none_or(|other| !Arc::ptr_eq(other, session))
            })
        };
        let wait = async |bound| {
            let mut sessions = self.session.subscribe();
            let found = timeout(bound, sessions.wait_for(fits)).await;
            found.ok().and_then(|found| found.ok()?.clone())
        };
        let retires = || other_than.is_some_and(|session| session.is_retiring());
        if !retires()
            && let Some(session) = wait(SILENCE).await
        {
            return Ok(session);
        }
        // That it makes room may have been said only meanwhile.
        if retires() {
            let successor = wait(self.settings.succession).await;
            return successor.ok_or(Fault::MakesRoom);
        }
        Err(Fault::Store(StoreError::Worker {
            attempt: "be reached again",
            message: "the connection to it is lost".to_owned(),
        }))
    }
}

/// What keeps a machine from building, if anything does.
fn fatal(hello: &api::HelloReply) -> Option<&api::Finding> {
    let capabilities = hello.capabilities.as_ref()?;
    (capabilities.findings.iter()).find(|finding| finding.fatal)
}

#[async_trait]
impl Builder for MusherBuilder {
    async fn connect(&self) -> Result<BuilderInfo, StoreError> {
        let session = match self.current().filter(|session| session.is_alive()) {
            Some(session) => {
                let nothing = BTreeSet::new();
                let asked = timeout(SILENCE, session.valid_paths(&nothing, Substitute::No));
                match asked.await {
                    Ok(answered) => answered.map(|_| session)?,
                    Err(_) => {
                        return Err(StoreError::Silent {
                            command: "musher worker".to_owned(),
                            after: SILENCE,
                        });
                    }
                }
            }
            None => self.open().await?,
        };
        let hello = session.hello();
        if let Some(finding) = fatal(hello) {
            return Err(StoreError::Worker {
                attempt: "build anything",
                message: finding.text.clone(),
            });
        }
        Ok(BuilderInfo {
            nix_version: None,
            protocol: format!("musher {} of release {}", hello.version, hello.release),
            trust: None,
        })
    }

    async fn lost(&self) -> String {
        loop {
            let Some(session) = self.current() else {
                return "it is not connected".to_owned();
            };
            let reason = session.lost().await;
            // A worker that makes room goes silent for a moment, too.
            let patience = session.seen() + SILENCE;
            match timeout_at(patience, self.open()).await {
                Ok(Ok(_)) => info!(%reason, "connected again"),
                Ok(Err(error)) => return format!("{reason}; {}", crate::short_text(&error)),
                Err(_) => return reason.to_string(),
            }
        }
    }

    async fn disconnect(&self) {
        self.session.send_replace(None);
        self.way.close().await;
    }

    async fn attempt(&self, order: &Order, log: &mut LogSink) -> Result<Outcome, Fault> {
        attempt::attempt(self, order, log).await
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        match self.current() {
            Some(session) => session.read_nar(path).await,
            None => Err(StoreError::Worker {
                attempt: "give a path",
                message: "it is not connected".to_owned(),
            }),
        }
    }
}
