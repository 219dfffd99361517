//! Carries out what the graph of a client's request orders, and tells it what
//! came of that. Decides nothing; the graph does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use nix_derivation::{Derivation, StorePath};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::early_build::{SHORT, begin, fetch, recipe_of};
use super::graph::{Action, End, Event, Graph, Recipe};
use super::process::Watched;
use super::{AheadBuilds, Asked, Intended, News, Shared};
use crate::build::{Ended, Limits, Progress, Stage};
use crate::held_inputs::{HeldInput, HeldInputs, Scope};

/// Derivations that are read at once.
const READS: usize = 16;

/// How long a request goes on without a session: of a client whose end would be
/// seen, and of another.
const IDLE: Duration = Duration::from_secs(15 * 60);
const IDLE_UNSEEN: Duration = Duration::from_secs(5);

/// What came of something that was waited for.
enum Came {
    Read {
        drv: StorePath,
        derivation: Result<Derivation, String>,
    },
    Looked(Result<Vec<(StorePath, BTreeSet<String>)>, String>),
    Doubted {
        drv: StorePath,
        derivation: Option<Arc<Derivation>>,
    },
    Begun {
        drv: StorePath,
        /// Nothing if it need not be built.
        begun: Result<Option<Asked>, String>,
    },
    Ended {
        asked: Asked,
        turn: u64,
        ended: Arc<Ended>,
    },
    /// Nothing that matters any more.
    Nothing,
}

/// Carries out the orders of one graph.
pub(super) struct Foreseer {
    shared: Arc<Shared>,
    graph: Graph,
    news: mpsc::UnboundedReceiver<News>,
    ahead: Arc<AheadBuilds>,
    /// Those that the client set last.
    limits: Limits,
    /// What the client is going to realise, and paths that may be outputs of it.
    intended: BTreeMap<StorePath, BTreeSet<StorePath>>,
    /// What was read, and may be nothing that the client is going to realise.
    unconfirmed: BTreeMap<StorePath, Recipe>,
    /// Derivations that are about to be built.
    derivations: BTreeMap<StorePath, Arc<Derivation>>,
    /// How many sessions ask for each build.
    sessions: BTreeMap<StorePath, usize>,
    /// The builds that are waited for, each with a number of its own.
    following: BTreeMap<StorePath, (u64, AbortHandle)>,
    turns: u64,
    /// The outputs of the client's builds that lie on machines and may not have
    /// come home yet.
    held: HeldInputs,
    made: BTreeMap<StorePath, Vec<StorePath>>,
    works: FuturesUnordered<BoxFuture<'static, Came>>,
    reads: Arc<Semaphore>,
    /// Outputs to look for at home, all in one question.
    looks: BTreeMap<StorePath, BTreeMap<String, StorePath>>,
    is_looking: bool,
    room: Option<OwnedSemaphorePermit>,
}

impl Drop for Foreseer {
    fn drop(&mut self) {
        // Others may know of it for longer.
        self.ahead.lock().clear();
    }
}

impl Foreseer {
    pub(super) fn new(
        shared: Arc<Shared>,
        ahead: Arc<AheadBuilds>,
        news: mpsc::UnboundedReceiver<News>,
    ) -> Self {
        Self {
            shared,
            graph: Graph::default(),
            news,
            ahead,
            limits: Limits::default(),
            intended: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            derivations: BTreeMap::new(),
            sessions: BTreeMap::new(),
            following: BTreeMap::new(),
            turns: 0,
            held: HeldInputs::default(),
            made: BTreeMap::new(),
            works: FuturesUnordered::new(),
            reads: Arc::new(Semaphore::new(READS)),
            looks: BTreeMap::new(),
            is_looking: false,
            room: None,
        }
    }

    /// Goes on until the client's process has ended, or for some time after the
    /// last session where that cannot be seen. With it ends the interest in all
    /// that was built ahead.
    pub(super) async fn run(mut self, process: Option<Watched>) {
        let idle = match process {
            Some(_) => IDLE,
            None => IDLE_UNSEEN,
        };
        let mut gone = pin!(OptionFuture::from(process.as_ref().map(Watched::ended)));
        let mut idle_since = Instant::now();
        loop {
            let facts = tokio::select! {
                biased;
                Some(()) = &mut gone => return,
                news = self.news.recv() => match news {
                    Some(news) => self.hear(news),
                    None => return,
                },
                Some(came) = self.works.next() => self.came(came),
                () = sleep_until(idle_since + idle), if self.sessions.is_empty() => {
                    if !self.graph.is_building() {
                        return;
                    }
                    Vec::new()
                }
            };
            if !self.sessions.is_empty() || self.graph.is_building() {
                idle_since = Instant::now();
            }
            let mut facts = VecDeque::from(facts);
            while let Some(fact) = facts.pop_front() {
                for action in self.graph.handle(fact) {
                    self.perform(action);
                }
            }
            self.look();
        }
    }

    /// The facts that follow from what a session says.
    fn hear(&mut self, news: News) -> Vec<Event> {
        match news {
            News::Intended(intended) => {
                let intended = intended.into_iter();
                intended
                    .filter_map(|intended| self.intend(intended))
                    .collect()
            }
            News::Asked(asked) => {
                self.limits = asked.limits;
                *self.sessions.entry(asked.drv.clone()).or_default() += 1;
                let drv = asked.drv.clone();
                self.follow(*asked);
                vec![Event::Asked { drv }]
            }
            News::Left { drv } => self.left(drv).into_iter().collect(),
            News::Disagreed => {
                info!("nothing more is built ahead for a client that asks for something else");
                self.graph.halt();
                Vec::new()
            }
        }
    }

    fn intend(&mut self, intended: Intended) -> Option<Event> {
        let Intended { drv, outputs } = intended;
        if let Some(known) = self.intended.get_mut(&drv) {
            known.extend(outputs);
            let recipe = self.unconfirmed.remove(&drv)?;
            return self.confirm(drv, recipe);
        }
        let room = self.shared.derivations.clone().try_acquire_owned();
        let Ok(room) = room else {
            debug!(%drv, "too many derivations: this is not foreseen");
            return None;
        };
        match &mut self.room {
            Some(all) => all.merge(room),
            None => self.room = Some(room),
        }
        self.intended.insert(drv.clone(), outputs);
        Some(Event::Named { drv })
    }

    /// What was read counts if the client wants outputs of it. That it only
    /// knows it is no reason to build it.
    fn confirm(&mut self, drv: StorePath, recipe: Recipe) -> Option<Event> {
        let outputs = self.intended.get(&drv)?;
        if recipe.outputs.values().any(|path| outputs.contains(path)) {
            return Some(Event::Read { drv, recipe });
        }
        self.unconfirmed.insert(drv, recipe);
        None
    }

    /// Waits for the end of a build, if nobody does.
    fn follow(&mut self, asked: Asked) {
        self.turns += 1;
        let turn = self.turns;
        let (abort, registration) = AbortHandle::new_pair();
        if let Some((_, older)) = self.following.insert(asked.drv.clone(), (turn, abort)) {
            older.abort();
        }
        let mut progress = asked.progress.clone();
        let end = async move {
            let ended = progress.wait_for(Progress::is_over).await;
            let ended = ended.ok().and_then(|progress| match &progress.stage {
                Stage::Ended(ended) => Some(ended.clone()),
                Stage::Waiting(_) | Stage::Running => None,
            });
            match ended {
                Some(ended) => Came::Ended { asked, turn, ended },
                // The core is gone, and with it everything.
                None => Came::Nothing,
            }
        };
        self.works.push(Box::pin(async move {
            let end = Abortable::new(end, registration).await;
            end.unwrap_or(Came::Nothing)
        }));
    }

    /// A session has left that asked for `drv`.
    fn left(&mut self, drv: StorePath) -> Option<Event> {
        let sessions = self.sessions.get_mut(&drv)?;
        *sessions -= 1;
        if *sessions > 0 {
            return None;
        }
        self.sessions.remove(&drv);
        if let Some((_, following)) = self.following.remove(&drv) {
            following.abort();
            let end = End::Unwanted;
            return Some(Event::Ended { drv, end });
        }
        // It has them, or it would not have left.
        let outputs = self.made.remove(&drv)?;
        self.held.remove(&outputs);
        Some(Event::CameHome { drv })
    }

    /// Carries out an order, or sets it going.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Read { drv } => {
                let (shared, reads) = (self.shared.clone(), self.reads.clone());
                self.works.push(Box::pin(async move {
                    // It is never closed; without a permit we read all the same.
                    let _permit = reads.acquire().await;
                    let derivation = shared.home.derivation(&drv).await;
                    let derivation = derivation.map_err(|error| crate::error_text(&error));
                    Came::Read { drv, derivation }
                }));
            }
            Action::Look { drv, outputs } => {
                self.looks.insert(drv, outputs);
            }
            Action::Doubt { drv, outputs } => {
                let shared = self.shared.clone();
                self.works.push(Box::pin(async move {
                    let (elsewhere, derivation) = tokio::join!(
                        shared.home.substitutable(&outputs),
                        shared.home.derivation(&drv)
                    );
                    // Where nobody knows it is left to the client.
                    let is_nowhere = elsewhere.is_ok_and(|paths| paths.is_empty());
                    let derivation = derivation.ok().filter(|_| is_nowhere);
                    let derivation = derivation.map(Arc::new);
                    Came::Doubted { drv, derivation }
                }));
            }
            Action::Build { drv } => self.build(drv),
        }
    }

    /// Asks the home store at once for everything that is to be looked for.
    fn look(&mut self) {
        if self.is_looking || self.looks.is_empty() {
            return;
        }
        self.is_looking = true;
        let looks = std::mem::take(&mut self.looks);
        let home = self.shared.home.clone();
        self.works.push(Box::pin(async move {
            let paths = looks.values().flat_map(BTreeMap::values).cloned().collect();
            let valid = home.valid(&paths).await;
            let valid = valid.map_err(|error| crate::error_text(&error));
            Came::Looked(valid.map(|valid| {
                let valid_names = |outputs: BTreeMap<String, StorePath>| {
                    let outputs = outputs.into_iter();
                    let outputs = outputs.filter(|(_, path)| valid.contains(path));
                    outputs.map(|(name, _)| name).collect()
                };
                let looks = looks.into_iter();
                looks
                    .map(|(drv, outputs)| (drv, valid_names(outputs)))
                    .collect()
            }))
        }));
    }

    /// Asks the core for a build that the client is going to ask for.
    fn build(&mut self, drv: StorePath) {
        let Some(derivation) = self.derivations.remove(&drv) else {
            return;
        };
        let (shared, ahead, limits) = (self.shared.clone(), self.ahead.clone(), self.limits);
        let inputs = self.graph.reads(&drv);
        let held = self.held.reachable(&inputs);
        self.works.push(Box::pin(async move {
            let begun = begin(&shared, &drv, &derivation, &inputs, limits, held).await;
            let begun = begun.map(|begun| {
                let (asked, build) = begun?;
                ahead.lock().insert(drv.clone(), build);
                Some(asked)
            });
            Came::Begun { drv, begun }
        }));
    }

    /// The facts that follow from what came.
    fn came(&mut self, came: Came) -> Vec<Event> {
        let fact = match came {
            Came::Read {
                drv,
                derivation: Ok(derivation),
            } => self.confirm(drv, recipe_of(&derivation)),
            Came::Read {
                drv,
                derivation: Err(error),
            } => {
                debug!(%drv, error, "a derivation cannot be read beforehand");
                None
            }
            Came::Looked(found) => {
                self.is_looking = false;
                let found = found.unwrap_or_else(|error| {
                    debug!(error, "the home store does not say what it has");
                    Vec::new()
                });
                let facts = found.into_iter();
                return facts
                    .map(|(drv, valid)| Event::Looked { drv, valid })
                    .collect();
            }
            Came::Doubted { drv, derivation } => {
                let is_elsewhere = derivation.is_none();
                debug!(%drv, is_elsewhere, "a derivation may be built ahead");
                if let Some(derivation) = derivation {
                    self.derivations.insert(drv.clone(), derivation);
                }
                Some(Event::Doubted { drv, is_elsewhere })
            }
            Came::Begun { drv, begun } => self.begun(drv, begun),
            Came::Ended { asked, turn, ended } => self.ended(asked, turn, &ended),
            Came::Nothing => None,
        };
        fact.into_iter().collect()
    }

    fn begun(&mut self, drv: StorePath, begun: Result<Option<Asked>, String>) -> Option<Event> {
        if self.following.contains_key(&drv) || self.made.contains_key(&drv) {
            // The client was faster, and has the same build.
            self.ahead.lock().remove(&drv);
            return None;
        }
        match begun {
            Ok(Some(asked)) => {
                debug!(%drv, "build asked for ahead of the client");
                self.follow(asked);
                return None;
            }
            Ok(None) => {}
            Err(error) => debug!(%drv, error, "a build is left to the client"),
        }
        let end = End::Unwanted;
        Some(Event::Ended { drv, end })
    }

    fn ended(&mut self, asked: Asked, turn: u64, ended: &Arc<Ended>) -> Option<Event> {
        let Asked {
            drv,
            inputs,
            undisclosed,
            progress,
            ..
        } = asked;
        if !matches!(self.following.get(&drv), Some((newest, _)) if *newest == turn) {
            return None;
        }
        self.following.remove(&drv);
        if !ended.lost.is_empty() {
            self.lose(&drv, &ended.lost);
            let end = End::Starved(ended.lost.clone());
            return Some(Event::Ended { drv, end });
        }
        let (true, Some(machine)) = (ended.result.status.is_success(), &ended.machine) else {
            if ended.machine.is_none() {
                // That says nothing of the build, and may be otherwise later.
                self.ahead.lock().remove(&drv);
            }
            let end = End::Failed;
            return Some(Event::Ended { drv, end });
        };
        let outputs: Vec<_> = (ended.outputs.values())
            .map(|info| info.path.clone())
            .collect();
        let scope = Arc::new(Scope {
            inputs,
            outputs: outputs.iter().cloned().collect(),
            undisclosed: (undisclosed.iter())
                .filter_map(|name| Some(ended.outputs.get(name)?.path.clone()))
                .collect(),
        });
        for info in ended.outputs.values() {
            self.held.insert(Arc::new(HeldInput {
                info: info.clone(),
                machine: machine.clone(),
                scope: scope.clone(),
                _interest: progress.clone(),
            }));
        }
        self.made.insert(drv.clone(), outputs);
        if !self.sessions.contains_key(&drv) {
            self.fetch(ended);
        }
        Some(Event::Built { drv })
    }

    /// Outputs cannot be had any more from where they were built: the client has
    /// them built again when it asks.
    fn lose(&mut self, drv: &StorePath, lost: &BTreeSet<StorePath>) {
        let mut ahead = self.ahead.lock();
        ahead.remove(drv);
        let is_lost = |outputs: &Vec<StorePath>| outputs.iter().any(|path| lost.contains(path));
        self.made.retain(|drv, outputs| {
            let is_lost = is_lost(outputs);
            if is_lost {
                ahead.remove(drv);
                self.held.remove(&*outputs);
            }
            !is_lost
        });
    }

    /// Reads short outputs before they are asked for.
    fn fetch(&mut self, ended: &Arc<Ended>) {
        for info in ended.outputs.values() {
            let size = u32::try_from(info.nar_size).unwrap_or(u32::MAX);
            let room = self.shared.nars.clone().try_acquire_many_owned(size);
            let (true, Ok(room)) = (info.nar_size <= SHORT, room) else {
                continue;
            };
            let (shared, ended, path) = (self.shared.clone(), ended.clone(), info.path.clone());
            self.works.push(Box::pin(async move {
                fetch(&shared, &ended, &path, room).await;
                Came::Nothing
            }));
        }
    }
}
