//! Carries out what a request's graph orders, and tells it what came of that.
//! Decides nothing; the graph does.

mod build;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use musher_protocol::types::BuildStatus;
use nix_derivation::{Derivation, StorePath};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info};

use super::Wish;
use super::checked::Checked;
use super::graph::{Action, End, Event, Graph, Outputs};
use super::home_logs::HomeLogs;
use super::homeward::{CameHome, Homeward, Way};
use super::plan::foresee;
use super::resolve::{Resolved, recipe, resolve};
use super::story::{Happened, RootEnd, Teller};
use super::tally::Tally;
use crate::build::{BuildSpec, Ended, Progress, Stage, undisclosed_outputs};
use crate::core::{Command, CoreHandle, OutlookSender, Part, Ticket};
use crate::held_inputs::{HeldInput, HeldInputs, Scope};
use crate::home::{Home, KeptPaths};

/// Derivations that are read at once.
const READS: usize = 16;

/// What came of something that was waited for.
enum Came {
    Read {
        drv: StorePath,
        derivation: Result<Arc<Derivation>, String>,
    },
    Looked(Result<Vec<(StorePath, Outputs)>, String>),
    Ended {
        asked: Asked,
        progress: watch::Receiver<Progress>,
        ended: Arc<Ended>,
        /// What a new build of what is at home shows.
        checked: Option<Checked>,
    },
    /// The core ended.
    Gone,
    Home(CameHome),
}

/// A build that was asked for.
struct Asked {
    drv: StorePath,
    /// What it reads.
    inputs: BTreeSet<StorePath>,
    /// What of that, or below it, is not at home.
    held: HeldInputs,
    /// Outputs that may mention more than they refer to.
    undisclosed: BTreeSet<String>,
}

/// Carries out the orders of one graph.
pub(super) struct Granter {
    core: CoreHandle,
    /// What makes this a request to the core, once it runs.
    ticket: Option<Ticket>,
    /// Where the core is to tell how far it is; until it knows.
    outlook: Option<OutlookSender>,
    began: Instant,
    home: Arc<Home>,
    kept: Arc<KeptPaths>,
    wish: Wish,
    graph: Graph,
    teller: Teller,
    derivations: BTreeMap<StorePath, Arc<Derivation>>,
    /// Derivations with outputs whose paths nobody knew before they were built.
    unforeseen: BTreeSet<StorePath>,
    /// The outputs that were built for this request, or by the way, and lie on
    /// machines; kept there until the request ends.
    held: HeldInputs,
    works: FuturesUnordered<BoxFuture<'static, Came>>,
    reads: Arc<Semaphore>,
    /// Outputs to look for at home, all in one question.
    looks: BTreeMap<StorePath, BTreeMap<String, Option<StorePath>>>,
    /// Roots whose outputs are to come home, together.
    homeward: BTreeMap<StorePath, Outputs>,
    is_importing: bool,
    tally: Tally,
    logs: HomeLogs,
}

impl Granter {
    pub(super) fn new(
        core: CoreHandle,
        home: Arc<Home>,
        kept: Arc<KeptPaths>,
        wish: Wish,
        graph: Graph,
        teller: Teller,
        outlook: OutlookSender,
    ) -> Self {
        Self {
            logs: HomeLogs::new(home.clone()),
            core,
            ticket: None,
            outlook: Some(outlook),
            began: Instant::now(),
            home,
            kept,
            wish,
            graph,
            teller,
            derivations: BTreeMap::new(),
            unforeseen: BTreeSet::new(),
            held: HeldInputs::default(),
            works: FuturesUnordered::new(),
            reads: Arc::new(Semaphore::new(READS)),
            looks: BTreeMap::new(),
            homeward: BTreeMap::new(),
            is_importing: false,
            tally: Tally::default(),
        }
    }

    /// Goes on until the graph is over, or the core is gone.
    pub(super) async fn run(mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        let standing = self.wish.standing.clone();
        let ticket = Ticket::open(&self.core, standing).await;
        let request = ticket.request();
        if let Some(sender) = self.outlook.take() {
            self.core
                .send(Command::TellOutlook { request, sender })
                .await;
        }
        self.ticket = Some(ticket);
        loop {
            while let Some(action) = actions.pop_front() {
                if let Some(fact) = self.perform(action).await {
                    actions.extend(self.graph.handle(fact));
                }
            }
            self.look();
            self.import();
            if self.graph.is_over() {
                return self.done().await;
            }
            let Some(came) = self.works.next().await else {
                unreachable!("bug: a request has nothing to wait for: {:?}", self.graph);
            };
            let Some(facts) = self.hear(came) else {
                return;
            };
            for fact in facts {
                actions.extend(self.graph.handle(fact));
            }
        }
    }

    /// Carries out an order, or sets it going; what follows at once.
    async fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Read { drv } => {
                let (home, reads) = (self.home.clone(), self.reads.clone());
                let kept = self.kept.clone();
                self.works.push(Box::pin(async move {
                    // It keeps everything below it.
                    kept.add(&BTreeSet::from([drv.clone()])).await;
                    // It is never closed; without a permit we read all the same.
                    let _permit = reads.acquire().await;
                    let derivation = home.derivation(&drv).await;
                    let derivation = derivation.map(Arc::new);
                    let derivation = derivation.map_err(|error| crate::error_text(&error));
                    Came::Read { drv, derivation }
                }));
                None
            }
            Action::Look { drv, outputs } => {
                self.looks.insert(drv, outputs);
                None
            }
            Action::Plan { builds, valid } => {
                info!(builds = builds.len(), valid, "request planned");
                if let Some(ticket) = &self.ticket {
                    ticket.plan(foresee(&builds, &self.derivations)).await;
                }
                let builds = builds.into();
                self.teller.tell(Happened::Planned { builds, valid });
                None
            }
            Action::Build { drv } => self.build(drv).await,
            Action::BringHome { drv, outputs } => {
                self.homeward.insert(drv, outputs);
                None
            }
            Action::GiveUp { drv, culprit } => {
                let text = format!("`{}` failed, which it needs", culprit.name());
                self.failed(&drv, BuildStatus::DependencyFailed, text, Some(culprit));
                None
            }
            Action::LostTooOften { drv } => {
                let text = "its outputs were built, and lost with their machines, too often";
                self.failed(&drv, BuildStatus::TransientFailure, text.to_owned(), None);
                None
            }
            Action::NothingToCheck { drv } => {
                let text = "some of its outputs are not valid, so checking is not possible";
                self.failed(&drv, BuildStatus::InputRejected, text.to_owned(), None);
                None
            }
            Action::NoOutput { drv, output } => {
                let text = format!("it has no output `{output}`");
                self.failed(&drv, BuildStatus::InputRejected, text, None);
                None
            }
        }
    }

    fn failed(
        &self,
        drv: &StorePath,
        status: BuildStatus,
        text: String,
        culprit: Option<StorePath>,
    ) {
        self.teller.tell(Happened::Failed {
            drv: drv.clone(),
            status,
            text: text.into(),
            culprit,
        });
    }

    /// Asks the home store at once for everything that is to be looked for.
    fn look(&mut self) {
        let looks = std::mem::take(&mut self.looks);
        if looks.is_empty() {
            return;
        }
        let (home, substitute) = (self.home.clone(), self.wish.substitute);
        let kept = self.kept.clone();
        self.works.push(Box::pin(async move {
            let found = home.look_for(looks, substitute, &kept).await;
            Came::Looked(found.map_err(|error| crate::error_text(&error)))
        }));
    }

    /// Brings home what is to come home, one round after the other, so that
    /// nothing that several roots refer to is sent twice.
    fn import(&mut self) {
        if self.is_importing || self.homeward.is_empty() {
            return;
        }
        self.is_importing = true;
        let roots = std::mem::take(&mut self.homeward);
        let outputs = roots.values().flat_map(BTreeMap::values);
        let coming = self.held.reachable(outputs);
        let coming = coming.infos().map(|info| info.path.clone()).collect();
        let homeward = Homeward {
            core: self.core.clone(),
            home: self.home.clone(),
            teller: self.teller.clone(),
            held: self.held.clone(),
            unforeseen: (self.unforeseen.iter())
                .filter_map(|drv| Some((drv.clone(), self.graph.outputs(drv)?.clone())))
                .collect(),
        };
        let kept = self.kept.clone();
        self.works.push(Box::pin(async move {
            kept.add(&coming).await;
            Came::Home(homeward.bring(roots).await)
        }));
    }

    /// The facts that follow from what came. None ends the request: the core
    /// is gone.
    fn hear(&mut self, came: Came) -> Option<Vec<Event>> {
        Some(match came {
            Came::Read { drv, derivation } => vec![self.read(drv, derivation)],
            Came::Looked(Ok(found)) => found
                .into_iter()
                .map(|(drv, valid)| Event::Looked { drv, valid })
                .collect(),
            Came::Looked(Err(text)) => {
                // Without the home store nothing can come of any root.
                let roots: Vec<_> = self.wish.roots.keys().cloned().collect();
                let fail = |drv: StorePath| {
                    self.failed(&drv, BuildStatus::MiscFailure, text.clone(), None);
                    Event::Failed { drv }
                };
                roots.into_iter().map(fail).collect()
            }
            Came::Ended {
                asked,
                progress,
                ended,
                checked,
            } => {
                self.logs.send(asked.drv.clone(), &progress.borrow());
                vec![match checked {
                    Some(checked) if ended.result.status.is_success() => {
                        self.checked(asked.drv, checked)
                    }
                    Some(_) | None => self.ended(asked, &progress, &ended),
                }]
            }
            Came::Gone => return None,
            Came::Home(came) => {
                self.is_importing = false;
                self.came_home(came)
            }
        })
    }

    fn read(&mut self, drv: StorePath, derivation: Result<Arc<Derivation>, String>) -> Event {
        let read = derivation.and_then(|derivation| {
            let recipe = recipe(&derivation).map_err(|error| crate::error_text(&error))?;
            Ok((derivation, recipe))
        });
        match read {
            Ok((derivation, recipe)) => {
                if recipe.outputs.values().any(Option::is_none) {
                    self.unforeseen.insert(drv.clone());
                }
                self.derivations.insert(drv.clone(), derivation);
                Event::Read { drv, recipe }
            }
            Err(text) => {
                self.failed(&drv, BuildStatus::InputRejected, text, None);
                Event::Failed { drv }
            }
        }
    }

    fn ended(
        &mut self,
        asked: Asked,
        progress: &watch::Receiver<Progress>,
        ended: &Ended,
    ) -> Event {
        let drv = asked.drv;
        if !ended.lost.is_empty() {
            let lost = self.held.unchanged(&asked.held, ended.lost.clone());
            debug!(%drv, lost = lost.len(), "inputs were lost");
            return Event::Starved { drv, lost };
        }
        let (true, Some(machine)) = (ended.result.status.is_success(), &ended.machine) else {
            // Its end says why.
            return Event::Failed { drv };
        };
        self.tally.add(&drv, &self.derivations[&drv], ended);
        let outputs: Outputs = (ended.outputs.iter())
            .map(|(name, info)| (name.clone(), info.path.clone()))
            .collect();
        let undisclosed = asked.undisclosed.iter();
        let scope = Arc::new(Scope {
            inputs: asked.inputs,
            outputs: outputs.values().cloned().collect(),
            undisclosed: undisclosed
                .filter_map(|name| outputs.get(name).cloned())
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
        Event::Built { drv, outputs }
    }

    /// What follows from a new build of what is at home.
    fn checked(&self, drv: StorePath, checked: Checked) -> Event {
        match checked {
            Checked::Same => Event::Checked { drv },
            Checked::Differs { output } => {
                let text = format!(
                    "derivation '{}' may not be deterministic: output '{}' differs",
                    self.home.store_dir().render_path(&drv),
                    self.home.store_dir().render_path(&output)
                );
                self.failed(&drv, BuildStatus::NotDeterministic, text, None);
                Event::Failed { drv }
            }
            Checked::Unknown(text) => {
                self.failed(&drv, BuildStatus::MiscFailure, text, None);
                Event::Failed { drv }
            }
        }
    }

    fn came_home(&self, came: CameHome) -> Vec<Event> {
        let fact = |(drv, way)| match way {
            Way::Home => Event::CameHome { drv },
            Way::Lost(lost) => {
                let lost = self.held.unchanged(&came.held, lost);
                Event::Stranded { drv, lost }
            }
            Way::Failed(text) => {
                self.failed(&drv, BuildStatus::MiscFailure, text, None);
                Event::Failed { drv }
            }
        };
        came.roots.into_iter().map(fact).collect()
    }

    async fn done(self) {
        self.logs.arrived().await;
        if let Some(graph) = self.tally.graph(&self.wish.roots) {
            let graph = Box::new(graph);
            self.core.send(Command::RequestEnded { graph }).await;
        }
        // Without a core nobody is left to be told.
        let powers = self.core.ask(|reply| Command::Powers { reply }).await;
        let summary = powers
            .ok()
            .and_then(|it| self.tally.summary(self.began, &it));
        if let Some(summary) = summary {
            self.teller.tell(Happened::Summed(Arc::new(summary)));
        }
        let ends = self.graph.ends().into_iter().map(|(drv, end)| {
            let end = match end {
                End::Home(outputs) => RootEnd {
                    outputs,
                    culprit: None,
                },
                End::Failed { culprit } => RootEnd {
                    outputs: Outputs::new(),
                    culprit: Some(culprit),
                },
                End::Undecided => RootEnd {
                    outputs: Outputs::new(),
                    culprit: None,
                },
            };
            (drv, end)
        });
        self.teller.tell(Happened::Done(Arc::new(ends.collect())));
    }
}
