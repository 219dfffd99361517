//! A request with a graph, followed to its end whatever becomes of the
//! coordinator meanwhile. Knows nothing of the client.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;

use super::feed::{Feed, Next};
use super::log_cursor::LogCursor;
use super::{Coordinator, CoordinatorError, new_id};

/// What is new about a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RealiseNews {
    /// The coordinator has been away for a while.
    CoordinatorAway,
    /// No attempt of a build runs.
    Waiting {
        /// The derivation, absolute.
        drv_path: String,
        /// Why.
        reason: String,
    },
    /// An attempt of a build began.
    Started {
        /// The derivation, absolute.
        drv_path: String,
        /// The machine's name.
        machine: String,
    },
    /// A piece of a build's log, which follows what came before.
    Log {
        /// The derivation, absolute.
        drv_path: String,
        /// The piece.
        bytes: Bytes,
    },
    /// A build is over.
    Ended {
        /// The derivation, absolute.
        drv_path: String,
        /// How it ended.
        end: Box<api::BuildEnd>,
    },
    /// All is over. What was built for the roots is in the home store.
    Done(Vec<api::RootEnd>),
}

/// What was heard of one build.
#[derive(Debug, Default)]
struct Heard {
    attempt: u64,
    log: LogCursor,
}

/// A request under way, or one that has ended and whose outputs are wanted. As
/// long as it is there, so is the interest in its builds.
pub(crate) struct Realise {
    request: api::RealiseRequest,
    /// Of the builds that run, by derivation.
    heard: BTreeMap<String, Heard>,
    feed: Feed<api::RealiseEvent>,
}

impl Realise {
    /// A request for what is wished for, under an id of its own, that was not
    /// made yet.
    pub(crate) fn new(wish: api::RealiseRequest) -> Self {
        Self {
            request: api::RealiseRequest {
                request_id: new_id(),
                ..wish
            },
            heard: BTreeMap::new(),
            feed: Feed::new(),
        }
    }

    /// The next thing that happens. Nothing is lost when the future is
    /// dropped.
    pub(crate) async fn next(
        &mut self,
        coordinator: &mut Coordinator,
    ) -> Result<RealiseNews, CoordinatorError> {
        loop {
            let Self { request, feed, .. } = self;
            let next = feed.next(coordinator, async |mut client| {
                Ok(client.realise(request.clone()).await?.into_inner())
            });
            let event = match next.await? {
                Next::Event(event) => event.event.ok_or(CoordinatorError::UnknownEvent)?,
                Next::CoordinatorAway => return Ok(RealiseNews::CoordinatorAway),
            };
            if let Some(news) = self.hear(event)? {
                return Ok(news);
            }
        }
    }

    fn hear(&mut self, event: Event) -> Result<Option<RealiseNews>, CoordinatorError> {
        Ok(match event {
            Event::Build(build) => {
                let news = build.news.ok_or(CoordinatorError::UnknownEvent)?;
                self.hear_build(build.drv_path, news)
            }
            Event::Done(done) => Some(RealiseNews::Done(done.roots)),
            Event::Planned(_) | Event::Importing(_) | Event::Imported(_) | Event::Outlook(_) => {
                None
            }
        })
    }

    fn hear_build(&mut self, drv_path: String, news: News) -> Option<RealiseNews> {
        match news {
            News::Waiting(waiting) => Some(RealiseNews::Waiting {
                drv_path,
                reason: waiting.reason,
            }),
            News::Started(started) => {
                let heard = self.heard.entry(drv_path.clone()).or_default();
                if heard.attempt == started.attempt {
                    return None;
                }
                heard.attempt = started.attempt;
                Some(RealiseNews::Started {
                    drv_path,
                    machine: started.machine,
                })
            }
            News::Log(log) => {
                let heard = self.heard.entry(drv_path.clone()).or_default();
                let bytes = heard.log.take(log)?;
                Some(RealiseNews::Log { drv_path, bytes })
            }
            News::Ended(mut end) => {
                self.heard.remove(&drv_path);
                // A client of Nix has one text for both.
                if !end.help.is_empty() {
                    let help = format!("\n{}", std::mem::take(&mut end.help));
                    end.error.extend_from_slice(help.as_bytes());
                }
                let end = Box::new(end);
                Some(RealiseNews::Ended { drv_path, end })
            }
        }
    }
}

impl fmt::Debug for Realise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realise")
            .field("roots", &self.request.roots.len())
            .finish_non_exhaustive()
    }
}
