//! The one task that owns the scheduler and every build. It decides nothing of
//! its own: it turns messages into the scheduler's events and the scheduler's
//! actions into attempts. Knows no protocol and no socket.

mod command;
mod machine;
mod record;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use musher_protocol::types::{BuildResult, BuildStatus};
use musher_scheduler::{
    Action, AttemptEnd, BuildId, Event, Explanation, Fault, LeaseId, MachineId, Refusal, Scheduler,
    Settings, Status, Timestamp,
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::attempt::{self, End, Order};
use crate::attempt_log::attempt_log;
use crate::build::{Attempt, BuildSpec, Closure, Ended, Progress, Stage};
use crate::home::{Home, HomeError};

pub(crate) use command::{Command, CoreHandle, Gone};
pub(crate) use machine::{MachineNews, MachineSetup};
pub(crate) use view::{BuildView, Finished, Lacks, MachineView, View};

use machine::Machine;
use record::{BuildKey, Record, State};

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
    machines: BTreeMap<MachineId, Machine>,
    builds: BTreeMap<BuildId, Record>,
    /// The build to which a new request for the same thing attaches.
    by_key: BTreeMap<BuildKey, BuildId>,
    leases: BTreeMap<LeaseId, Running>,
    next_build: u64,
    finished: VecDeque<Finished>,
    handle: CoreHandle,
    draining: bool,
}

/// An attempt that was not reported ended.
struct Running {
    build: BuildId,
    machine: MachineId,
    since: Instant,
    /// Dropping the task's handle does nothing; aborting it stops the attempt.
    task: tokio::task::AbortHandle,
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
    ) -> CoreHandle {
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = CoreHandle::new(sender);
        let core = Self {
            started: Instant::now(),
            scheduler: Scheduler::new(settings, first_lease),
            home,
            log_dir,
            machines: BTreeMap::new(),
            builds: BTreeMap::new(),
            by_key: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_build: 1,
            finished: VecDeque::new(),
            handle: handle.clone(),
            draining: false,
        };
        tokio::spawn(core.run(inbox));
        handle
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.recv().await {
            self.handle(command);
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Build { spec, reply } => {
                // The asker may have gone in the meantime; `watch` notices.
                let _ = reply.send(self.request(*spec));
            }
            Command::Prepared { build, closure } => self.prepared(build, closure),
            Command::Abandoned { build } => self.abandoned(build),
            Command::AttemptEnded { lease, end } => self.attempt_ended(lease, end),
            Command::Machine { machine, news } => self.machine_news(machine, news),
            Command::Configure { machines, reply } => {
                let _ = reply.send(self.configure(machines));
            }
            Command::Drain {
                machine,
                resume,
                reply,
            } => {
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
                let ended = self
                    .builds
                    .values()
                    .find_map(|record| record.ended_with(&path));
                let _ = reply.send(ended);
            }
            Command::Stop { reply } => self.stop(reply),
        }
    }

    fn now(&self) -> Timestamp {
        let millis = self.started.elapsed().as_millis();
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn tell(&mut self, event: Event) {
        let actions = self.scheduler.handle(self.now(), event);
        for action in actions {
            self.perform(action);
        }
    }

    /// Attaches to the build of the same derivation, or makes a new one.
    fn request(&mut self, spec: BuildSpec) -> watch::Receiver<Progress> {
        let key = BuildKey::of(&spec);
        if let Some(record) = self
            .by_key
            .get(&key)
            .and_then(|build| self.builds.get(build))
        {
            if !record.has_failed() {
                return record.progress.subscribe();
            }
        }
        let build = BuildId(self.next_build);
        self.next_build += 1;
        let drv = spec.drv_path.clone();
        debug!(build = build.0, %drv, "build requested");
        let record = Record::new(key.clone(), spec);
        let receiver = record.progress.subscribe();
        self.watch_interest(build, &record);
        if self.draining {
            record.stage(Stage::Waiting("the coordinator is stopping".into()));
        } else {
            self.prepare(build, &record);
        }
        self.by_key.insert(key, build);
        self.builds.insert(build, record);
        receiver
    }

    /// Finds the infos of the build's inputs, aside.
    fn prepare(&self, build: BuildId, record: &Record) {
        let (home, handle, spec) = (self.home.clone(), self.handle.clone(), record.spec.clone());
        tokio::spawn(async move {
            let closure = home
                .closure(spec.derivation.input_sources.iter().cloned())
                .await;
            handle.send(Command::Prepared { build, closure }).await;
        });
    }

    /// Reports when nobody follows the build any more.
    fn watch_interest(&self, build: BuildId, record: &Record) {
        let (handle, progress) = (self.handle.clone(), record.progress.clone());
        tokio::spawn(async move {
            progress.closed().await;
            handle.send(Command::Abandoned { build }).await;
        });
    }

    fn prepared(&mut self, build: BuildId, closure: Result<Closure, HomeError>) {
        let Some(record) = self.builds.get_mut(&build) else {
            return;
        };
        match closure {
            Ok(closure) => {
                let inputs = closure.inputs();
                let needs = record.spec.needs();
                record.closure = Arc::new(closure);
                record.state = State::Queued;
                self.tell(Event::BuildRequested {
                    build,
                    needs,
                    inputs,
                });
                self.explain_waiting(build);
            }
            Err(error) => {
                let text = crate::error_text(&error);
                self.end_without_attempt(build, BuildStatus::MiscFailure, &text);
            }
        }
    }

    fn abandoned(&mut self, build: BuildId) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        if record.progress.receiver_count() > 0 {
            // Somebody asked for it again in the meantime.
            self.watch_interest(build, record);
            return;
        }
        debug!(build = build.0, drv = %record.spec.drv_path, "build no longer wanted");
        self.tell(Event::BuildCancelled { build });
        self.forget(build);
    }

    fn forget(&mut self, build: BuildId) {
        if let Some(record) = self.builds.remove(&build) {
            if self.by_key.get(&record.key) == Some(&build) {
                self.by_key.remove(&record.key);
            }
        }
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

    fn assign(&mut self, build: BuildId, machine: MachineId, lease: LeaseId) {
        let (Some(record), Some(target)) =
            (self.builds.get_mut(&build), self.machines.get(&machine))
        else {
            unreachable!("bug: the scheduler assigned unknown build {build} to `{machine}`");
        };
        let (writer, log) = attempt_log(self.log_dir.join(format!("{lease}.log")));
        let order = Order {
            spec: record.spec.clone(),
            closure: record.closure.clone(),
            known: target.known.clone(),
            home: self.home.clone(),
        };
        debug!(build = build.0, lease = lease.0, %machine, "attempt starts");
        record.state = State::Running { lease };
        record.attempts += 1;
        let attempt = Attempt {
            number: lease.0,
            machine: machine.clone(),
            log,
        };
        record.progress.send_modify(|progress| {
            progress.stage = Stage::Running;
            progress.attempt = Some(attempt);
        });
        let (builder, handle) = (target.builder.clone(), self.handle.clone());
        let task = tokio::spawn(async move {
            let end = attempt::run(&*builder, &order, writer).await;
            handle.send(Command::AttemptEnded { lease, end }).await;
        });
        let running = Running {
            build,
            machine,
            since: Instant::now(),
            task: task.abort_handle(),
        };
        self.leases.insert(lease, running);
    }

    /// Stops an attempt. Its connection goes with its task, and with the
    /// connection the build program on the machine.
    fn cancel(&mut self, lease: LeaseId, machine: &MachineId) {
        let Some(running) = self.leases.remove(&lease) else {
            return;
        };
        debug!(lease = lease.0, %machine, "attempt cancelled");
        running.task.abort();
        if let Some(record) = self.builds.get_mut(&running.build) {
            // Its machine is gone; the scheduler has it in its queue again.
            record.state = State::Queued;
        }
        self.tell(Event::AttemptEnded {
            lease,
            end: AttemptEnd::Returned,
        });
        self.explain_waiting(running.build);
    }

    fn attempt_ended(&mut self, lease: LeaseId, end: End) {
        // A cancelled attempt may have ended just before it was stopped.
        let Some(running) = self.leases.remove(&lease) else {
            return;
        };
        let Running {
            build,
            machine,
            since,
            ..
        } = running;
        match end {
            End::Outcome {
                result,
                outputs,
                held,
                known,
            } => {
                info!(
                    drv = self.builds.get(&build).map(|record| record.spec.drv_path.name()),
                    %machine,
                    status = ?result.status,
                    millis = since.elapsed().as_millis(),
                    "build ended"
                );
                self.remember(&machine, known);
                let ended = Ended {
                    result,
                    outputs,
                    machine: Some(machine),
                    held,
                };
                self.end(build, ended, Some(since));
                self.tell(Event::AttemptEnded {
                    lease,
                    end: AttemptEnd::Finished,
                });
            }
            End::Fault { reason, forget } => {
                warn!(lease = lease.0, %machine, reason, "attempt lost");
                self.forget_paths(&machine, &forget);
                if let Some(record) = self.builds.get_mut(&build) {
                    record.state = State::Queued;
                }
                if let Some(target) = self.machines.get(&machine) {
                    target.suspect();
                }
                self.tell(Event::AttemptEnded {
                    lease,
                    end: AttemptEnd::Faulted { reason },
                });
                self.explain_waiting(build);
            }
        }
    }

    fn refuse(&mut self, build: BuildId, refusal: &Refusal) {
        let text = format!("{refusal}\n{}", refusal.help());
        self.end_without_attempt(build, BuildStatus::MiscFailure, &text);
    }

    fn give_up(&mut self, build: BuildId, faults: &[Fault]) {
        let tried: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let text = format!(
            "no machine could finish the build; {} attempts were lost: {}",
            faults.len(),
            tried.join("; ")
        );
        self.end_without_attempt(build, BuildStatus::TransientFailure, &text);
    }

    fn end_without_attempt(&mut self, build: BuildId, status: BuildStatus, text: &str) {
        let result = BuildResult::new(status, text);
        let ended = Ended {
            result,
            outputs: BTreeMap::new(),
            machine: None,
            held: None,
        };
        self.end(build, ended, None);
    }

    fn end(&mut self, build: BuildId, ended: Ended, since: Option<Instant>) {
        let Some(record) = self.builds.get_mut(&build) else {
            return;
        };
        let finished = Finished::new(record, &ended, since);
        record.state = State::Ended;
        record.stage(Stage::Ended(Arc::new(ended)));
        self.finished.push_back(finished);
        if self.finished.len() > REMEMBERED {
            self.finished.pop_front();
        }
    }

    /// Tells the watchers of a waiting build what it waits for.
    fn explain_waiting(&self, build: BuildId) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        if let Some(Explanation {
            status: status @ Status::Waiting { .. },
            ..
        }) = self.scheduler.explain(build)
        {
            record.stage(Stage::Waiting(view::waiting_text(&status).into()));
        }
    }
}
