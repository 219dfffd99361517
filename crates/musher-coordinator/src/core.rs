//! The one task that owns the scheduler and every build. It decides nothing of
//! its own: it turns messages into the scheduler's events and the scheduler's
//! actions into attempts. Knows no protocol and no socket.

mod attempts;
mod command;
mod machine;
mod outlooks;
mod plan;
mod reasons;
mod recent;
mod record;
#[cfg(test)]
mod tests;
mod view;
mod why;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use musher_protocol::types::{BuildStatus, PathInfo};
use musher_scheduler::{
    Action, BuildId, Event, Fault, LeaseId, MachineId, Refusal, Scheduler, Settings, Timestamp,
};
use nix_derivation::StorePath;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tracing::{debug, info};

use crate::build::{BuildSpec, Closure, Ended, Progress, Stage};
use crate::history::History;
use crate::home::{Home, HomeError};
use crate::kept_logs::KeptLogs;
use crate::waiting::Waiting;

pub(crate) use command::{Command, CoreHandle, Gone};
pub(crate) use machine::{MachineNews, MachineSetup};
pub(crate) use outlooks::{Expected, OutlookSender, RequestView};
pub(crate) use plan::{Foreseen, Part, Standing, Ticket};
pub(crate) use view::{BuildView, Finished, Lacks, MachineView, Power, View};
pub(crate) use why::{Fate, Why};

use attempts::Running;
use machine::Machine;
use outlooks::Outlooks;
use plan::Plans;
use reasons::Reasons;
use recent::RecentOutputs;
pub(crate) use record::BuildKey;
use record::{Record, State};

/// Messages that may wait for the core; senders wait beyond it.
const INBOX: usize = 1024;
/// Ended builds that `status` can still name.
const REMEMBERED: usize = 1000;

/// The coordinator's state, owned by its one task.
pub(crate) struct Core {
    started: Instant,
    scheduler: Scheduler,
    home: Arc<Home>,
    log_dir: PathBuf,
    kept_logs: Arc<KeptLogs>,
    history: History,
    machines: BTreeMap<MachineId, Machine>,
    builds: BTreeMap<BuildId, Record>,
    /// The build to which a new request for the same thing attaches.
    by_key: BTreeMap<BuildKey, BuildId>,
    leases: BTreeMap<LeaseId, Running>,
    /// What requests will come to.
    plans: Plans,
    outlooks: Outlooks,
    next_build: u64,
    /// Of the machine that joined last; see [`Machine`].
    last_turn: u64,
    finished: VecDeque<Finished>,
    recent: RecentOutputs,
    reasons: Reasons,
    handle: CoreHandle,
}

impl Core {
    /// Starts the core's task.
    ///
    /// `first_lease` must be above every lease of an earlier run, so that the
    /// attempts of one build stay numbered in the order they were made.
    pub(crate) fn start(
        settings: Settings,
        first_lease: LeaseId,
        home: Arc<Home>,
        log_dir: PathBuf,
        kept_logs: Arc<KeptLogs>,
        history: History,
    ) -> CoreHandle {
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = CoreHandle::new(sender);
        let core = Self {
            started: Instant::now(),
            scheduler: Scheduler::new(settings, first_lease),
            home,
            log_dir,
            kept_logs,
            history,
            machines: BTreeMap::new(),
            builds: BTreeMap::new(),
            by_key: BTreeMap::new(),
            leases: BTreeMap::new(),
            plans: Plans::default(),
            outlooks: Outlooks::default(),
            next_build: 1,
            last_turn: 0,
            finished: VecDeque::new(),
            recent: RecentOutputs::default(),
            reasons: Reasons::default(),
            handle: handle.clone(),
        };
        tokio::spawn(core.run(inbox));
        handle
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let review = self.scheduler.review_at();
            let review = review.map(|at| at.since(self.now()));
            let command = tokio::select! {
                command = inbox.recv() => command,
                () = self.reasons.due() => {
                    self.refresh_reasons();
                    continue;
                }
                // Time alone may change what the scheduler decided.
                () = sleep(review.unwrap_or_default()), if review.is_some() => {
                    self.tell(Event::TimePassed);
                    continue;
                }
            };
            let Some(command) = command else {
                return;
            };
            if let Some(reply) = self.handle(command) {
                self.stop().await;
                // Whoever asked may be out of patience.
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Gives back whom to tell once the core has ended, if it is to end.
    fn handle(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Build { spec, part, reply } => {
                // The asker may have gone in the meantime; `watch` notices.
                let _ = reply.send(self.request(*spec, part));
            }
            Command::OpenRequest { request, standing } => {
                self.outlooks.open(request, standing.owner.clone());
                self.open_request(request, standing);
            }
            Command::Plan { request, builds } => self.plan(request, builds),
            Command::CloseRequest { request } => {
                self.outlooks.close(request);
                self.close_request(request);
            }
            Command::TellOutlook { request, sender } => self.outlooks.tell(request, sender),
            Command::Why { path, reply } => {
                let _ = reply.send(self.why(&path).map(Box::new));
            }
            Command::Powers { reply } => {
                let _ = reply.send(self.powers());
            }
            Command::Prepared { build, closure } => self.prepared(build, closure),
            Command::Abandoned { build } => self.abandoned(build),
            Command::AttemptEnded { lease, end, sent } => self.attempt_ended(lease, end, sent),
            Command::RequestEnded { graph } => self.history.record(*graph),
            Command::Machine {
                machine,
                turn,
                news,
            } => self.machine_news(machine, turn, news),
            Command::Configure { machines, reply } => {
                let _ = reply.send(self.configure(machines));
            }
            Command::Drain {
                machine,
                resume,
                reply,
            } => {
                self.reasons.are_stale_now();
                let known = self.machines.contains_key(&machine);
                let event = match resume {
                    false => Event::MachineDrained { machine },
                    true => Event::MachineResumed { machine },
                };
                self.tell(event);
                let _ = reply.send(known);
            }
            Command::Could { needs, reply } => {
                let _ = reply.send(self.could(&needs));
            }
            Command::View { reply } => {
                let _ = reply.send(self.view());
            }
            Command::Reader { machine, reply } => {
                let builder = self
                    .machines
                    .get(&machine)
                    .map(|machine| machine.builder.clone());
                let _ = reply.send(builder);
            }
            Command::Output { path, reply } => {
                // The newest: an older one's may be lost.
                let ended =
                    (self.builds.values().rev()).find_map(|record| record.ended_with(&path));
                let _ = reply.send(ended);
            }
            Command::Find { path, reply } => {
                let _ = reply.send(self.find_output(&path));
            }
            Command::Log { drv, reply } => {
                let builds = self.builds.values().rev();
                let mut logs = builds
                    .filter(|record| record.spec.drv_path == drv)
                    .filter_map(|record| record.progress.borrow().attempt.clone());
                let _ = reply.send(logs.next().map(|attempt| attempt.log));
            }
            Command::Unreadable { path } => self.unreadable(&path),
            Command::Stop { reply } => return Some(reply),
        }
        None
    }

    /// Hands every attempt back and lets go of every build. Those who follow
    /// one see that we are gone, and ask the next coordinator, which builds it
    /// anew: stock Nix cannot be asked to go on with a build whose connection
    /// ended.
    async fn stop(self) {
        info!(running = self.leases.len(), "stopping");
        drop((self.builds, self.machines));
        for running in self.leases.into_values() {
            running.task.abort();
            // An error says that it was stopped, as it was to be.
            let _ = running.task.await;
        }
    }

    fn now(&self) -> Timestamp {
        let millis = self.started.elapsed().as_millis();
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn tell(&mut self, event: Event) {
        self.reasons.are_stale();
        let actions = self.scheduler.handle(self.now(), event);
        for action in actions {
            self.perform(action);
        }
    }

    /// Attaches to the build of the same derivation, or makes a new one.
    fn request(&mut self, spec: BuildSpec, part: Option<Part>) -> watch::Receiver<Progress> {
        let key = BuildKey::of(&spec);
        if let Some(build) = self.by_key.get(&key).copied()
            && let Some(record) = self.builds.get(&build)
            && !record.has_failed()
        {
            let progress = record.progress.subscribe();
            self.join(build, part);
            return progress;
        }
        let build = self.claim(part.as_ref());
        let drv = spec.drv_path.clone();
        debug!(build = build.0, %drv, "build requested");
        let mut record = Record::new(key.clone(), spec);
        if let Some(part) = part {
            record.requests.push(part.request);
            record.alias = (part.drv != record.spec.drv_path).then_some(part.drv);
        }
        let receiver = record.progress.subscribe();
        self.watch_interest(build, &mut record);
        self.prepare(build, &mut record);
        self.by_key.insert(key, build);
        self.builds.insert(build, record);
        receiver
    }

    /// Finds the infos of the build's inputs, aside.
    fn prepare(&self, build: BuildId, record: &mut Record) {
        let (home, handle, spec) = (self.home.clone(), self.handle.clone(), record.spec.clone());
        record.run(async move {
            let inputs = &spec.derivation.input_sources;
            let closure = home.closure_patiently(inputs, &spec.held).await;
            handle.send(Command::Prepared { build, closure }).await;
        });
    }

    /// Reports when nobody follows the build any more.
    fn watch_interest(&self, build: BuildId, record: &mut Record) {
        let (handle, progress) = (self.handle.clone(), record.progress.clone());
        record.run(async move {
            progress.closed().await;
            // Followers wait for the last sender's end; this may not be it.
            drop(progress);
            handle.send(Command::Abandoned { build }).await;
        });
    }

    fn prepared(&mut self, build: BuildId, closure: Result<Closure, HomeError>) {
        let Some(record) = self.builds.get_mut(&build) else {
            return;
        };
        match closure {
            Ok(closure) => {
                record.closure = Arc::new(closure);
                record.state = State::Queued;
                record.ready = Some(Instant::now());
                self.ask_scheduler(build);
                self.explain_waiting(build);
            }
            Err(error) => {
                let text = crate::error_text(&error);
                self.end(build, Ended::nowhere(BuildStatus::MiscFailure, &text));
            }
        }
    }

    fn abandoned(&mut self, build: BuildId) {
        let Some(mut record) = self.builds.remove(&build) else {
            return;
        };
        if record.progress.receiver_count() > 0 {
            // Somebody asked for it again in the meantime.
            self.watch_interest(build, &mut record);
            self.builds.insert(build, record);
            return;
        }
        debug!(build = build.0, drv = %record.spec.drv_path, "build no longer wanted");
        self.detach(build, &record);
        let now = Instant::now();
        for (info, machine) in record.outputs() {
            self.recent.remember(now, info, machine);
        }
        drop(record);
        self.tell(Event::BuildCancelled { build });
    }

    /// What is known of `path`, an output of a build that somebody follows or
    /// followed a moment ago, and where it is.
    fn find_output(&self, path: &StorePath) -> Option<(PathInfo, MachineId)> {
        let followed = (self.builds.values().rev())
            .flat_map(Record::outputs)
            .find(|(info, _)| info.path == *path);
        followed.or_else(|| {
            let (info, machine) = self.recent.find(Instant::now(), path)?;
            Some((info.clone(), machine.clone()))
        })
    }

    /// Lets nobody attach to the build any more.
    fn detach(&mut self, build: BuildId, record: &Record) {
        if self.by_key.get(&record.key) == Some(&build) {
            self.by_key.remove(&record.key);
        }
    }

    /// An output could not be read where it was built. Whoever asks for the
    /// build again gets a new one, also while others still follow the old one.
    fn unreadable(&mut self, path: &StorePath) {
        let (builds, machines) = (&self.builds, &self.machines);
        self.by_key.retain(|_, build| {
            let Some(record) = builds.get(build) else {
                return false;
            };
            let Some(ended) = record.ended_with(path) else {
                return true;
            };
            let machine = ended.machine.as_ref().and_then(|name| machines.get(name));
            if let Some(machine) = machine {
                machine.suspect();
            }
            false
        });
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Assign {
                build,
                machine,
                lease,
            } => self.assign(build, machine, lease),
            Action::Cancel { lease, machine } => self.cancel(lease, &machine),
            Action::Refuse { build, refusal } => self.refuse(build, &refusal),
            Action::GiveUp { build, faults } => self.give_up(build, &faults),
        }
    }

    fn refuse(&mut self, build: BuildId, refusal: &Refusal) {
        let ended = Ended {
            help: Some(refusal.help()),
            ..Ended::nowhere(BuildStatus::MiscFailure, &refusal.to_string())
        };
        self.end(build, ended);
    }

    fn give_up(&mut self, build: BuildId, faults: &[Fault]) {
        let text = format!(
            "no machine could finish the build; {} attempts were lost: {}",
            faults.len(),
            grouped(faults)
        );
        self.end(build, Ended::nowhere(BuildStatus::TransientFailure, &text));
    }

    fn end(&mut self, build: BuildId, ended: Ended) {
        let Some(record) = self.builds.get_mut(&build) else {
            return;
        };
        let finished = Finished::new(record, &ended);
        record.state = State::Ended;
        record.let_go();
        record.stage(Stage::Ended(Arc::new(ended)));
        self.finished.push_back(finished);
        if self.finished.len() > REMEMBERED {
            self.finished.pop_front();
        }
    }

    /// Tells the watchers of a waiting build what it waits for.
    fn explain_waiting(&mut self, build: BuildId) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        let explanation = self.scheduler.explain(build);
        if let Some(waiting) = explanation.and_then(|it| Waiting::of(&it.status)) {
            record.waits(self.reasons.shared(waiting));
        }
    }
}

/// How attempts were lost, each way once, in the order in which they came:
/// `` 2 times on `b1`: disk full; on `b2`: it hung up ``.
fn grouped(faults: &[Fault]) -> String {
    let mut ways: Vec<(String, usize)> = Vec::new();
    for fault in faults {
        let text = fault.to_string();
        match ways.iter_mut().find(|(known, _)| *known == text) {
            Some((_, times)) => *times += 1,
            None => ways.push((text, 1)),
        }
    }
    let texts = ways.into_iter().map(|(text, times)| match times {
        1 => text,
        times => format!("{times} times {text}"),
    });
    texts.collect::<Vec<_>>().join("; ")
}
