//! Attempts, from the scheduler's order to their end. What an attempt does is in
//! `crate::attempt`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use musher_protocol::types::{BuildResult, BuildStatus};
use musher_scheduler::{AttemptEnd, BuildId, Event, LeaseId, MachineId};
use nix_derivation::StorePath;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::record::State;
use super::{Command, Core};
use crate::attempt::{self, End, Order};
use crate::attempt_log::attempt_log;
use crate::build::{Attempt, Ended, Stage, Times};
use crate::builder::Outcome;
use crate::history::{PastAttempt, PastOutcome, build_kind, since_1970};
use crate::sources::Sources;

/// An attempt that was not reported ended.
pub(super) struct Running {
    pub(super) build: BuildId,
    pub(super) machine: MachineId,
    pub(super) since: Instant,
    /// The same by the clock on the wall.
    started: SystemTime,
    /// Its drop stops the attempt.
    pub(super) task: AbortOnDropHandle<()>,
}

impl Core {
    pub(super) fn assign(&mut self, build: BuildId, machine: MachineId, lease: LeaseId) {
        let (Some(record), Some(target)) =
            (self.builds.get_mut(&build), self.machines.get(&machine))
        else {
            unreachable!("bug: the scheduler assigned unknown build {build} to `{machine}`");
        };
        let (writer, log) = attempt_log(self.log_dir.join(format!("{lease}.log")));
        let order = Order {
            lease,
            slots: target.slots,
            spec: record.spec.clone(),
            closure: record.closure.clone(),
            known: target.known.clone(),
            sources: Sources::new(
                self.home.clone(),
                record.spec.held.clone(),
                self.handle.clone(),
            )
            .towards(target.traffic.clone()),
        };
        debug!(build = build.0, lease = lease.0, %machine, "attempt starts");
        record.state = State::Running { lease };
        record.attempts += 1;
        record.placement = self.scheduler.placement(lease).cloned();
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
            let sent = order.unknown_bytes();
            let end = attempt::run(&*builder, &order, writer).await;
            let ended = Command::AttemptEnded { lease, end, sent };
            handle.send(ended).await;
        });
        let running = Running {
            build,
            machine,
            since: Instant::now(),
            started: SystemTime::now(),
            task: AbortOnDropHandle::new(task),
        };
        self.leases.insert(lease, running);
    }

    /// Stops an attempt. Its connection goes with its task, and with the
    /// connection the build program on the machine.
    pub(super) fn cancel(&mut self, lease: LeaseId, machine: &MachineId) {
        let Some(running) = self.leases.remove(&lease) else {
            return;
        };
        debug!(lease = lease.0, %machine, "attempt cancelled");
        drop(running.task);
        if let Some(record) = self.builds.get_mut(&running.build) {
            // Only its machine is gone; the scheduler has it in its queue again.
            record.state = State::Queued;
            record.lost += running.since.elapsed();
        }
        self.tell(Event::AttemptEnded {
            lease,
            end: AttemptEnd::Returned,
        });
        self.explain_waiting(running.build);
    }

    pub(super) fn attempt_ended(&mut self, lease: LeaseId, end: End, sent: u64) {
        // A cancelled attempt may have ended just before it was stopped.
        let Some(running) = self.leases.remove(&lease) else {
            return;
        };
        self.note(&running, &end, sent);
        let Running {
            build,
            machine,
            since,
            ..
        } = running;
        match end {
            End::Outcome {
                outcome,
                known,
                ran,
            } => {
                let Outcome {
                    result,
                    outputs,
                    held,
                    measured,
                    kept_dir,
                } = *outcome;
                info!(
                    drv = self.builds.get(&build).map(|record| record.spec.drv_path.name()),
                    %machine,
                    status = ?result.status,
                    millis = since.elapsed().as_millis(),
                    "build ended"
                );
                self.remember(&machine, known);
                self.keep_log(build);
                let times = self.builds.get(&build).map(|record| Times {
                    ready: record.ready.unwrap_or(since),
                    assigned: since,
                    ended: Instant::now(),
                    lost: record.lost,
                });
                let ended = Ended {
                    result,
                    outputs,
                    machine: Some(machine),
                    took: since.elapsed(),
                    ran,
                    measured,
                    held,
                    lost: BTreeSet::new(),
                    help: None,
                    kept_dir,
                    times,
                };
                self.end(build, ended);
                self.tell(Event::AttemptEnded {
                    lease,
                    end: AttemptEnd::Finished,
                });
            }
            End::Returned => {
                info!(lease = lease.0, %machine, "the machine makes room for a newer worker");
                self.requeue(build, lease, since, AttemptEnd::Returned);
            }
            End::Outdated { lost } => {
                info!(lease = lease.0, %machine, lost = lost.len(), "inputs must be sent again");
                self.forget_paths(&machine, &lost);
                self.requeue(build, lease, since, AttemptEnd::Returned);
            }
            End::Bereft { lost } => {
                info!(lease = lease.0, %machine, lost = lost.len(), "inputs are gone from where they were built");
                self.bereft(build, lost);
                let end = AttemptEnd::Finished;
                self.tell(Event::AttemptEnded { lease, end });
            }
            End::Fault { reason, forget, .. } => {
                warn!(lease = lease.0, %machine, reason, "attempt lost");
                self.forget_paths(&machine, &forget);
                if let Some(target) = self.machines.get(&machine) {
                    target.suspect();
                }
                self.requeue(build, lease, since, AttemptEnd::Faulted { reason });
            }
        }
    }

    /// Notes in the history what an attempt's end says of its build.
    fn note(&mut self, running: &Running, end: &End, sent: u64) {
        let Some(record) = self.builds.get(&running.build) else {
            return;
        };
        let past = PastAttempt {
            drv: record.spec.drv_path.clone(),
            system: record.spec.derivation.system.clone(),
            kind: build_kind(&record.spec.derivation),
            machine: running.machine.clone(),
            outcome: PastOutcome::Lost,
            started: since_1970(running.started),
            wall: Duration::ZERO,
            took: running.since.elapsed(),
            cpu: None,
            peak_memory: None,
            sent,
            output_bytes: None,
        };
        let took = past.took;
        let past = match end {
            End::Outcome { outcome, ran, .. } => {
                let Some(how) = PastOutcome::of(&outcome.result) else {
                    return;
                };
                let outputs = outcome.outputs.values().map(|info| info.nar_size);
                let measured = outcome.measured.as_ref();
                PastAttempt {
                    outcome: how,
                    wall: measured.map_or(ran.unwrap_or(took), |measured| measured.wall),
                    cpu: measured.map_or_else(|| told_cpu(&outcome.result), |it| Some(it.cpu())),
                    peak_memory: measured.and_then(|measured| measured.peak_memory),
                    output_bytes: (how == PastOutcome::Built).then(|| outputs.sum()),
                    ..past
                }
            }
            End::Fault { ran, shortage, .. } => PastAttempt {
                outcome: match shortage {
                    Some(_) => PastOutcome::OutOfMemory,
                    None => PastOutcome::Lost,
                },
                wall: ran.unwrap_or_default(),
                peak_memory: shortage.and_then(|shortage| shortage.peak_memory),
                ..past
            },
            // Of the build itself they say nothing.
            End::Outdated { .. } | End::Returned | End::Bereft { .. } => return,
        };
        self.history.note(past);
        self.tell_speeds();
    }

    /// Tells the scheduler how fast machines were found to be, where that has
    /// changed.
    pub(super) fn tell_speeds(&mut self) {
        for (machine, factor) in self.history.changed_speeds() {
            debug!(%machine, factor = factor.value(), "speed measured");
            self.tell(Event::SpeedMeasured { machine, factor });
        }
    }

    /// Keeps the log of a build that came to an end.
    fn keep_log(&self, build: BuildId) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        if let Some(attempt) = &record.progress.borrow().attempt {
            self.kept_logs.keep(&record.spec.drv_path, &attempt.log);
        }
    }

    /// Ends a build whose inputs must be built again first. That is for those
    /// to see to who asked for it.
    fn bereft(&mut self, build: BuildId, lost: BTreeSet<StorePath>) {
        let Some(record) = self.builds.get(&build) else {
            return;
        };
        for held in lost.iter().filter_map(|path| record.spec.held.get(path)) {
            if let Some(machine) = self.machines.get(&held.machine) {
                machine.suspect();
            }
        }
        for path in &lost {
            self.unreadable(path);
        }
        let text = "its inputs cannot be read any more from where they were built";
        let ended = Ended {
            lost,
            ..Ended::nowhere(BuildStatus::TransientFailure, text)
        };
        self.end(build, ended);
    }

    /// The attempt came to nothing; the scheduler sees what becomes of its build.
    fn requeue(&mut self, build: BuildId, lease: LeaseId, since: Instant, end: AttemptEnd) {
        if let Some(record) = self.builds.get_mut(&build) {
            record.state = State::Queued;
            record.lost += since.elapsed();
        }
        self.tell(Event::AttemptEnded { lease, end });
        self.explain_waiting(build);
    }
}

/// The CPU time that stock Nix tells, if it does.
fn told_cpu(result: &BuildResult) -> Option<Duration> {
    let (user, system) = (result.cpu_user?, result.cpu_system?);
    Some(Duration::from_micros(user.saturating_add(system)))
}
