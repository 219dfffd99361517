//! One build, followed to its end whatever becomes of the coordinator
//! meanwhile. Knows nothing of the client.

use std::fmt;

use bytes::Bytes;
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;

use super::feed::{Feed, Next};
use super::log_cursor::LogCursor;
use super::{Coordinator, CoordinatorError, new_id};
use crate::client_process::ClientProcess;

/// What is asked of the coordinator; can be asked again.
#[derive(Debug, Clone)]
pub(crate) struct BuildOrder(api::BuildRequest);

impl BuildOrder {
    /// An order under an id of its own.
    pub(crate) fn new(
        drv_path: String,
        derivation: api::Derivation,
        mode: api::BuildMode,
        limits: api::Limits,
        client: Option<&ClientProcess>,
    ) -> Self {
        Self(api::BuildRequest {
            request_id: new_id(),
            drv_path,
            derivation: Some(derivation),
            mode: mode.into(),
            log_attempt: 0,
            log_offset: 0,
            limits: Some(limits),
            client: client.map(ClientProcess::to_message),
        })
    }

    /// The same order as if for the first time.
    pub(crate) fn anew(&self) -> Self {
        let mut request = self.0.clone();
        request.request_id = new_id();
        Self(request)
    }

    /// The derivation's path, absolute.
    pub(crate) fn drv_path(&self) -> &str {
        &self.0.drv_path
    }
}

/// What is new about a build.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// The coordinator has been away for a while.
    CoordinatorAway,
    /// No attempt runs, for this reason.
    Waiting(String),
    /// An attempt began on this machine.
    Started {
        /// The machine's name.
        machine: String,
    },
    /// A piece of the log, which follows what came before.
    Log(Bytes),
    /// The coordinator does not know all that the client has to be built.
    Unread {
        /// Where its temporary roots are to be read on.
        from: u64,
    },
    /// It is over.
    Ended(Box<api::Ended>),
}

/// A build under way, or one that has ended and whose outputs are wanted. As
/// long as it is there, so is the interest in the build.
pub(crate) struct Build {
    order: BuildOrder,
    /// The newest attempt that was heard of.
    attempt: u64,
    log: LogCursor,
    feed: Feed<api::BuildEvent>,
}

impl Build {
    /// A build that was not asked for yet.
    pub(crate) fn new(order: BuildOrder) -> Self {
        Self {
            order,
            attempt: 0,
            log: LogCursor::default(),
            feed: Feed::new(),
        }
    }

    /// What was asked for.
    pub(crate) fn order(&self) -> &BuildOrder {
        &self.order
    }

    /// The next thing that happens. Nothing is lost when the future is
    /// dropped.
    pub(crate) async fn next(
        &mut self,
        coordinator: &mut Coordinator,
    ) -> Result<News, CoordinatorError> {
        loop {
            let Self {
                order, log, feed, ..
            } = self;
            let next = feed.next(coordinator, async |mut client| {
                let mut request = order.0.clone();
                request.log_attempt = log.attempt;
                request.log_offset = log.offset;
                Ok(client.build(request).await?.into_inner())
            });
            let event = match next.await? {
                Next::Event(event) => event.event.ok_or(CoordinatorError::UnknownEvent)?,
                Next::CoordinatorAway => return Ok(News::CoordinatorAway),
            };
            if let Some(news) = self.hear(event) {
                return Ok(news);
            }
        }
    }

    fn hear(&mut self, event: Event) -> Option<News> {
        match event {
            Event::Waiting(waiting) => Some(News::Waiting(waiting.reason)),
            Event::Started(started) if started.attempt == self.attempt => None,
            Event::Started(started) => {
                self.attempt = started.attempt;
                Some(News::Started {
                    machine: started.machine,
                })
            }
            Event::Log(log) => self.log.take(log).map(News::Log),
            Event::Unread(api::Unread { from }) => Some(News::Unread { from }),
            Event::Ended(ended) => Some(News::Ended(Box::new(ended))),
        }
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build")
            .field("drv_path", &self.order.drv_path())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_never_comes_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut coordinator = Coordinator::connect_to(dir.path().join("control.sock"));
        let limits = api::Limits::default();
        let order = BuildOrder::new(
            "/nix/store/x.drv".to_owned(),
            api::Derivation::default(),
            api::BuildMode::Normal,
            limits,
            None,
        );
        let mut build = Build::new(order);
        let began = tokio::time::Instant::now();
        let first = build.next(&mut coordinator).await.expect("news");
        assert_eq!(first, News::CoordinatorAway);
        assert_eq!(began.elapsed(), Duration::ZERO);
        let error = build.next(&mut coordinator).await.expect_err("an error");
        let waited = began.elapsed().as_secs();
        assert!((30..=31).contains(&waited), "{waited} s");
        assert!(
            matches!(error, CoordinatorError::NeverReached { .. }),
            "{error}"
        );
        assert_eq!(error.help().as_deref(), Some("start `musher daemon`"));
    }
}
