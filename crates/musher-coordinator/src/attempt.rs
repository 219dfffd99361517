//! One try of a build on one machine, under its limits. Knows neither the
//! scheduler nor any protocol.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use musher_protocol::types::{BuildResult, BuildStatus};
use musher_scheduler::LeaseId;
use nix_derivation::StorePath;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::attempt_log::LogWriter;
use crate::build::{BuildSpec, Closure, Limits};
use crate::builder::{self, Builder, Fault, Outcome};
use crate::home::Home;
use crate::known_paths::KnownPaths;
use crate::sources::Sources;

/// What an attempt needs to know.
pub(crate) struct Order {
    /// The right to make the attempt.
    pub(crate) lease: LeaseId,
    /// How many attempts the machine makes at once.
    pub(crate) slots: u32,
    /// What to build.
    pub(crate) spec: Arc<BuildSpec>,
    /// What must be on the machine, references first.
    pub(crate) closure: Arc<Closure>,
    /// What is thought to be there.
    pub(crate) known: Arc<KnownPaths>,
    /// Where the inputs are.
    pub(crate) sources: Sources,
}

impl Order {
    /// The inputs that the machine is not known to hold.
    pub(crate) fn unknown(&self) -> BTreeSet<StorePath> {
        let unknown = self.known.unknown(self.closure.paths());
        unknown.into_iter().collect()
    }

    /// NAR bytes of the inputs that the machine is not known to hold.
    pub(crate) fn unknown_bytes(&self) -> u64 {
        let unknown = self.unknown();
        let infos = self.closure.0.iter();
        let sent = infos.filter(|info| unknown.contains(&info.path));
        sent.map(|info| info.nar_size).sum()
    }

    /// The home store, and in it the derivation with all it comes from.
    pub(crate) fn home(&self) -> &Home {
        self.sources.home()
    }
}

/// How an attempt ended.
pub(crate) enum End {
    /// The build came to an end, good or bad.
    Outcome {
        /// How.
        outcome: Box<Outcome>,
        /// What the machine holds now.
        known: Vec<StorePath>,
        /// How long the build program ran, as far as can be seen from here.
        ran: Option<Duration>,
    },
    /// The machine had collected inputs that it was known to hold.
    Outdated {
        /// Which.
        lost: Vec<StorePath>,
    },
    /// The machine cannot begin it now, to nobody's blame.
    Returned,
    /// Inputs cannot be read from the machines on which they lay: not this
    /// machine's fault, and not the build's.
    Bereft {
        /// Which.
        lost: BTreeSet<StorePath>,
    },
    /// The machine failed, not the build.
    Fault {
        /// How, for people.
        reason: String,
        /// What the machine may not hold after all.
        forget: Vec<StorePath>,
        /// How long the build program ran, as far as can be seen from here.
        ran: Option<Duration>,
        /// What was wrong with the machine's memory, if that was it.
        shortage: Option<Shortage>,
    },
}

/// A machine's memory was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The most that the build took, in bytes, where that is known.
    pub(crate) peak_memory: Option<u64>,
}

/// What the limits watch.
#[derive(Debug, Clone, Copy)]
struct Activity {
    /// When the build program started; none while inputs are sent.
    started: Option<Instant>,
    /// When it last said something.
    last: Instant,
    /// Bytes it said.
    bytes: u64,
}

/// Where an attempt's log goes. Takes note of when.
pub(crate) struct LogSink {
    writer: LogWriter,
    activity: watch::Sender<Activity>,
    max_log: Option<u64>,
}

impl LogSink {
    /// The inputs are there; from now on the limits count.
    pub(crate) fn build_starts(&mut self) {
        let now = Instant::now();
        self.activity.send_modify(|activity| {
            activity.started = Some(now);
            activity.last = now;
        });
    }

    /// A line of the build program, without its newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.raw(&bytes)
    }

    /// The build reached a phase. Kept as Nix keeps it in its logs.
    pub(crate) fn phase(&mut self, phase: &str) -> Result<(), Fault> {
        let phase = serde_json::Value::from(phase);
        self.line(format!("@nix {{\"action\":\"setPhase\",\"phase\":{phase}}}").as_bytes())
    }

    /// Bytes of the log as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // What goes beyond the limit is not kept: the limit guards the disk.
        if self.max_log.is_none_or(|most| self.writer.length() <= most) {
            self.writer.append(bytes).map_err(Fault::Log)?;
        }
        let now = Instant::now();
        self.activity.send_modify(|activity| {
            activity.last = now;
            activity.bytes += bytes.len() as u64;
        });
        Ok(())
    }
}

/// Makes one attempt and ends it at its limits.
pub(crate) async fn run(builder: &dyn Builder, order: &Order, writer: LogWriter) -> End {
    let now = Instant::now();
    let (activity, watcher) = watch::channel(Activity {
        started: None,
        last: now,
        bytes: 0,
    });
    let limits = order.spec.limits;
    let mut log = LogSink {
        writer,
        activity,
        max_log: limits.max_log,
    };
    let attempt = builder::attempt(builder, order, &mut log);
    let outcome = tokio::select! {
        // What ended in time has ended, even if nobody looked at once.
        biased;
        outcome = attempt => outcome,
        exceeded = exceeded(limits, watcher) => Ok(Outcome::failed(exceeded)),
        fault = order.sources.stalls() => Err(fault),
    };
    // The end may have come in one piece with the log that was too long.
    let Activity { bytes, started, .. } = *log.activity.borrow();
    let ran = started.map(|started| started.elapsed());
    let outcome = match (outcome, over(bytes, limits)) {
        (Ok(_), Some(result)) => Ok(Outcome::failed(result)),
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(outcome) => {
            let mut known: Vec<_> = order.closure.paths().cloned().collect();
            known.extend(outcome.outputs.values().map(|info| info.path.clone()));
            let outcome = Box::new(outcome);
            End::Outcome {
                outcome,
                known,
                ran,
            }
        }
        Err(Fault::LostInputs(lost)) => End::Outdated { lost },
        Err(Fault::MakesRoom) => End::Returned,
        Err(_) if !order.sources.lost().is_empty() => End::Bereft {
            lost: order.sources.lost(),
        },
        Err(fault) => {
            // Nobody knows how far it came.
            let forget: Vec<_> = order.closure.paths().cloned().collect();
            order.home().forget(&forget);
            let shortage = if let Fault::OutOfMemory { peak, .. } = &fault {
                Some(Shortage { peak_memory: *peak })
            } else {
                None
            };
            End::Fault {
                reason: crate::error_text(&fault),
                forget,
                ran,
                shortage,
            }
        }
    }
}

/// What becomes of a build that has written `bytes` of log, if that is too much.
fn over(bytes: u64, limits: Limits) -> Option<BuildResult> {
    let most = limits.max_log.filter(|most| bytes > *most)?;
    let text = format!("build log exceeded {most} bytes");
    Some(BuildResult::new(BuildStatus::LogLimitExceeded, text))
}

/// Waits until a limit is exceeded, and says which. Never ends without one.
async fn exceeded(limits: Limits, mut watcher: watch::Receiver<Activity>) -> BuildResult {
    loop {
        let activity = *watcher.borrow_and_update();
        if let Some(result) = over(activity.bytes, limits) {
            return result;
        }
        // A limit beyond what a clock can show limits nothing.
        let after = |start: Instant, limit: Option<Duration>| start.checked_add(limit?);
        let silent_at = activity
            .started
            .and_then(|_| after(activity.last, limits.max_silent));
        let over_at = activity
            .started
            .and_then(|started| after(started, limits.timeout));
        let now = Instant::now();
        if let Some(limit) = limits
            .max_silent
            .filter(|_| silent_at.is_some_and(|at| at <= now))
        {
            let text = format!("timed out after {} seconds of silence", limit.as_secs());
            return BuildResult::new(BuildStatus::TimedOut, text);
        }
        if let Some(limit) = limits
            .timeout
            .filter(|_| over_at.is_some_and(|at| at <= now))
        {
            let text = format!("timed out after {} seconds", limit.as_secs());
            return BuildResult::new(BuildStatus::TimedOut, text);
        }
        let deadline = silent_at.into_iter().chain(over_at).min();
        let alarm = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = alarm => {}
            changed = watcher.changed() => {
                if changed.is_err() {
                    // The attempt ended; its own arm of the race says how.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
