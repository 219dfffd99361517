//! `Realise`: tells what happens to a request and to its builds, at the
//! caller's pace.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Stream, StreamExt, stream};
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event as BuildEvent;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;
use musher_store::Substitute;
use nix_derivation::{StoreDir, StorePath};
use tokio::sync::watch;
use tonic::Status;
use tracing::debug;

use super::build::{Follower, limits};
use super::explained::outlook;
use super::{Service, gone};
use crate::build::{Progress, Stage};
use crate::core::{Gone, Standing};
use crate::request::{Happened, Request, RootEnd, Summary, Wish};

/// The most roots of one request.
const ROOTS: usize = 100_000;

/// Starts the request.
pub(super) fn realise(
    service: &Service,
    standing: Standing,
    request: &api::RealiseRequest,
) -> Result<impl Stream<Item = Result<api::RealiseEvent, Status>> + Send + use<>, Status> {
    let (wish, order) = parse(service, standing, request)?;
    debug!(
        request = request.request_id,
        roots = order.len(),
        "realisation asked for"
    );
    let listener = Listener {
        store_dir: service.store_dir.clone(),
        order,
        explain: request.explain,
        request: Request::start(service.core.clone(), service.home.clone(), wish),
        builds: FuturesUnordered::new(),
        open: BTreeMap::new(),
        queue: VecDeque::new(),
        news: VecDeque::new(),
        summary: None,
        end: None,
        is_over: false,
    };
    Ok(stream::unfold(listener, async |mut listener| {
        let event = listener.next().await;
        Some((event, listener))
    }))
}

/// What is wished for, and the roots in the order asked.
fn parse(
    service: &Service,
    standing: Standing,
    request: &api::RealiseRequest,
) -> Result<(Wish, Vec<StorePath>), Status> {
    if request.roots.len() > ROOTS {
        let text = format!("more than {ROOTS} roots in one request");
        return Err(Status::invalid_argument(text));
    }
    let mut roots: BTreeMap<StorePath, BTreeSet<String>> = BTreeMap::new();
    let mut order = Vec::new();
    for root in &request.roots {
        let drv = service.parse(&root.drv_path)?;
        let outputs: BTreeSet<_> = root.outputs.iter().cloned().collect();
        match roots.get_mut(&drv) {
            // Who names none wants them all.
            Some(all) if outputs.is_empty() || all.is_empty() => all.clear(),
            Some(known) => known.extend(outputs),
            None => {
                roots.insert(drv.clone(), outputs);
                order.push(drv);
            }
        }
    }
    let asked = request.limits.unwrap_or_default();
    let wish = Wish {
        roots,
        keep_going: request.keep_going,
        limits: service.limits.and(limits(asked)),
        substitute: match request.no_substitutes {
            true => Substitute::No,
            false => Substitute::Allowed,
        },
        keep_failed: request.keep_failed,
        check: request.check,
        standing,
    };
    Ok((wish, order))
}

/// A build and its next event; none once it was told to its end.
type Next = (StorePath, Follower, Result<Option<api::BuildEvent>, Status>);

/// One caller's view of a request.
struct Listener {
    store_dir: StoreDir,
    order: Vec<StorePath>,
    /// Whether it is told how far the request is, and of waiting piece by piece.
    explain: bool,
    request: Request,
    builds: FuturesUnordered<BoxFuture<'static, Next>>,
    /// Builds that were not told to their end.
    open: BTreeMap<StorePath, watch::Receiver<Progress>>,
    queue: VecDeque<Event>,
    /// What happened and was not told yet.
    news: VecDeque<Happened>,
    /// Where the time went, once that is known.
    summary: Option<api::Summary>,
    /// The last event, once all happened that will.
    end: Option<api::Done>,
    /// Whether that was told.
    is_over: bool,
}

impl Listener {
    /// The next event. After the last there is none, and the wait for it keeps
    /// the request.
    async fn next(&mut self) -> Result<api::RealiseEvent, Status> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(api::RealiseEvent { event: Some(event) });
            }
            let over = self.open.values().any(|build| build.borrow().is_over());
            if let (Some(_), false) = (&self.end, over) {
                // What still runs was given up.
                self.builds.clear();
                self.open.clear();
                if let Some(done) = self.end.take() {
                    self.is_over = true;
                    let event = Some(Event::Done(done));
                    return Ok(api::RealiseEvent { event });
                }
            }
            if self.is_over {
                return std::future::pending().await;
            }
            if self.news.is_empty()
                && self.end.is_none()
                && let Some(news) = self.request.story.next().now_or_never()
            {
                self.note(news.map_err(|_| gone(Gone))?);
                continue;
            }
            // What builds have to tell comes before what follows from it.
            if let Some(Some((drv, follower, event))) = self.builds.next().now_or_never() {
                self.hear(drv, follower, event?);
                continue;
            }
            if let Some(happened) = self.news.pop_front() {
                self.tell(happened);
                continue;
            }
            tokio::select! {
                biased;
                Some((drv, follower, event)) = self.builds.next() => {
                    self.hear(drv, follower, event?);
                }
                news = self.request.story.next(), if self.end.is_none() => {
                    self.note(news.map_err(|_| gone(Gone))?);
                }
                changed = self.request.outlook.changed(), if self.explain => {
                    // Once nobody tells any more there is nothing to be told.
                    self.explain = changed.is_ok();
                    self.look_ahead();
                }
            }
        }
    }

    /// Tells how far the request is.
    fn look_ahead(&mut self) {
        let expected = *self.request.outlook.borrow_and_update();
        if let Some(expected) = expected.filter(|_| self.end.is_none()) {
            self.queue.push_back(Event::Outlook(outlook(&expected)));
        }
    }

    /// Keeps what happened until its turn comes. That of the plan is now: it
    /// follows from no build, and says how many there will be.
    fn note(&mut self, news: Vec<Happened>) {
        for happened in news {
            match happened {
                Happened::Planned { .. } => self.tell(happened),
                Happened::Asked { .. }
                | Happened::Failed { .. }
                | Happened::Importing { .. }
                | Happened::Imported { .. }
                | Happened::Summed(_)
                | Happened::Done(_) => self.news.push_back(happened),
            }
        }
    }

    fn tell(&mut self, happened: Happened) {
        let path = |path: &StorePath| self.store_dir.render_path(path);
        let event = match happened {
            Happened::Planned { builds, valid } => Event::Planned(api::Planned {
                drv_paths: builds.iter().map(path).collect(),
                valid: valid as u64,
            }),
            Happened::Asked { drv, progress } => {
                self.open.insert(drv.clone(), progress.clone());
                let mut follower = Follower::new(self.store_dir.clone(), progress);
                follower.explain = self.explain;
                return self.follow(drv, follower);
            }
            Happened::Failed {
                drv,
                status,
                text,
                culprit,
            } => Event::Build(api::BuildNews {
                drv_path: path(&drv),
                news: Some(News::Ended(api::BuildEnd {
                    status: status as u32,
                    error: text.as_bytes().to_vec(),
                    culprit: culprit.as_ref().map(path).unwrap_or_default(),
                    ..api::BuildEnd::default()
                })),
            }),
            Happened::Importing { paths, nar_bytes } => Event::Importing(api::Importing {
                paths: paths.iter().map(path).collect(),
                nar_bytes,
            }),
            Happened::Imported {
                paths,
                nar_bytes,
                took,
            } => Event::Imported(api::Imported {
                paths: paths.iter().map(path).collect(),
                nar_bytes,
                duration_ms: millis(took),
            }),
            Happened::Summed(summed) => {
                self.summary = Some(summary(&self.store_dir, &summed));
                return;
            }
            Happened::Done(ends) => {
                let roots = self.order.iter().filter_map(|drv| {
                    let end = ends.get(drv)?;
                    Some(root_end(&self.store_dir, drv, end))
                });
                self.end = Some(api::Done {
                    roots: roots.collect(),
                    summary: self.summary.take(),
                });
                return;
            }
        };
        self.queue.push_back(event);
    }

    fn follow(&self, drv: StorePath, mut follower: Follower) {
        let next = async move {
            let event = follower.next().await;
            (drv, follower, event)
        };
        self.builds.push(next.boxed());
    }

    fn hear(&mut self, drv: StorePath, follower: Follower, event: Option<api::BuildEvent>) {
        let Some(event) = event.and_then(|event| event.event) else {
            return;
        };
        let news = match event {
            BuildEvent::Waiting(waiting) => News::Waiting(waiting),
            BuildEvent::Started(started) => News::Started(started),
            BuildEvent::Log(log) => News::Log(log),
            // Only a client's process is told that.
            BuildEvent::Unread(_) => return self.follow(drv, follower),
            BuildEvent::Ended(_) => {
                let progress = self.open.remove(&drv);
                let stage = progress.map(|progress| progress.borrow().stage.clone());
                let Some(Stage::Ended(ended)) = stage else {
                    return;
                };
                let news = match ended.lost.is_empty() {
                    true => News::Ended(build_end(&self.store_dir, &ended)),
                    // It is not over: its inputs are built again.
                    false => News::Waiting(api::Waiting {
                        reason: ended.result.error.to_string(),
                        details: None,
                    }),
                };
                return self.say(&drv, news);
            }
        };
        self.say(&drv, news);
        self.follow(drv, follower);
    }

    fn say(&mut self, drv: &StorePath, news: News) {
        self.queue.push_back(Event::Build(api::BuildNews {
            drv_path: self.store_dir.render_path(drv),
            news: Some(news),
        }));
    }
}

fn build_end(store_dir: &StoreDir, ended: &crate::build::Ended) -> api::BuildEnd {
    let outputs = ended.outputs.iter();
    api::BuildEnd {
        status: ended.result.status as u32,
        error: ended.result.error.as_bytes().to_vec(),
        machine: ended
            .machine
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        duration_ms: millis(ended.took),
        culprit: String::new(),
        outputs: outputs
            .map(|(name, info)| (name.clone(), store_dir.render_path(&info.path)))
            .collect(),
        usage: ended.measured.as_ref().map(super::build::usage),
        help: ended.help.clone().unwrap_or_default(),
        kept_dir: ended.kept_dir.clone().unwrap_or_default(),
    }
}

fn root_end(store_dir: &StoreDir, drv: &StorePath, end: &RootEnd) -> api::RootEnd {
    let outputs = end.outputs.iter();
    api::RootEnd {
        drv_path: store_dir.render_path(drv),
        outputs: outputs
            .map(|(name, path)| (name.clone(), store_dir.render_path(path)))
            .collect(),
        culprit: end
            .culprit
            .as_ref()
            .map(|path| store_dir.render_path(path))
            .unwrap_or_default(),
    }
}

fn summary(store_dir: &StoreDir, summary: &Summary) -> api::Summary {
    let row = &summary.row;
    let poles = row.long_poles.iter().map(|pole| api::LongPole {
        drv_path: store_dir.render_path(&pole.drv),
        machine: pole.machine.to_string(),
        duration_ms: millis(pole.wall),
    });
    api::Summary {
        took_ms: millis(summary.took),
        bound_ms: millis(summary.bound()),
        work_ms: millis(summary.work),
        critical_ms: millis(summary.critical),
        slots: summary.slots,
        builds: summary.builds as u64,
        planning_ms: millis(row.planning),
        waiting_ms: millis(row.waiting),
        lost_ms: millis(row.lost),
        sending_ms: millis(row.sending),
        building_ms: millis(row.building),
        fetching_ms: millis(row.fetching),
        long_poles: poles.collect(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
