//! From the start of a build program to the end of its last process: its log
//! as it comes, its limits, its end. Dropping the future ends all of it.

use std::time::Instant;

use musher_sandbox::{
    Attempt, Cut, Ended, Isolation, Launcher, Output, Plan, Running, SandboxError, Status, Stopper,
    Usage,
};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep_until;

use super::Limits;
use super::LogEvent;
use super::error::BuildError;
use super::log_lines::LogLines;
use super::site::Site;
use super::terminal::{Terminal, TerminalEnd};
use super::watch::{Excess, Watch};

/// Bytes of a log that are read at once.
const PIECE: usize = 16 << 10;

/// A build program that has ended, and what it left.
#[derive(Debug)]
pub(super) struct Ran {
    /// What the build still holds.
    pub(super) site: Site,
    /// How it ended, unless it was stopped for going over a limit.
    pub(super) ended: Result<Ended, SandboxError>,
    /// The limit it went over.
    pub(super) excess: Option<Excess>,
}

/// Stops a build when it is dropped. Stopping one that has ended does nothing.
#[derive(Debug)]
struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs what `plan` says, within `limits`, and gives its log to `log`.
pub(super) async fn run(
    site: Site,
    plan: Plan,
    launcher: Launcher,
    owner: Option<u32>,
    limits: Limits,
    log: &mut (dyn FnMut(LogEvent<'_>) + Send),
) -> Result<Ran, BuildError> {
    let (mut terminal, end) = Terminal::open(owner).map_err(BuildError::Terminal)?;
    let mut lines = LogLines::default();
    let sandboxed = plan.isolation == Isolation::Full;
    let (guard, process) = start(site, plan, launcher, end);
    // Gone only if it could not be started, which it then tells at its end.
    let guard = guard.await.ok();
    let excess = follow(&mut terminal, limits, &mut lines, log).await;
    if excess.is_some() {
        drop(guard);
    }
    lines.finish(log);
    let (site, mut ended) = process.await.map_err(BuildError::GivenUp)?;
    if let Some((text, failed)) = not_executed(&ended, sandboxed) {
        log(LogEvent::Line(text.as_bytes()));
        ended = Ok(failed);
    }
    Ok(Ran {
        site,
        ended,
        excess,
    })
}

type Process = JoinHandle<(Site, Result<Ended, SandboxError>)>;

/// Starts the build and waits for its end, in a thread that owns what it holds:
/// whoever loses interest lets go of the guard, and the thread clears up.
fn start(
    site: Site,
    plan: Plan,
    launcher: Launcher,
    end: TerminalEnd,
) -> (oneshot::Receiver<StopOnDrop>, Process) {
    let (sender, guard) = oneshot::channel();
    let process = spawn_blocking(move || {
        let mut ended = spawn(&plan, &launcher, end).and_then(|running| {
            // If nobody waits for it any more, the guard comes back, and
            // stops the build as it is dropped.
            let _ = sender.send(StopOnDrop(running.stopper()));
            running.wait()
        });
        if let Ok(ended) = &mut ended {
            site.group().account(&mut ended.usage);
        }
        (site, ended)
    });
    (guard, process)
}

fn spawn(plan: &Plan, launcher: &Launcher, end: TerminalEnd) -> Result<Running, SandboxError> {
    let stdout = end
        .try_clone()
        .map_err(|source| SandboxError::Talk { source })?;
    let output = Output {
        stdout,
        stderr: end,
    };
    musher_sandbox::spawn(plan, launcher, output)
}

/// Reads the log until nobody writes to it any more, or a limit is exceeded.
async fn follow(
    terminal: &mut Terminal,
    limits: Limits,
    lines: &mut LogLines,
    sink: &mut (dyn FnMut(LogEvent<'_>) + Send),
) -> Option<Excess> {
    let mut watch = Watch::new(limits, Instant::now());
    let mut piece = vec![0; PIECE];
    loop {
        let deadline = watch.deadline();
        tokio::select! {
            biased;
            read = terminal.read(&mut piece) => {
                // A terminal that cannot be read has no more to tell.
                let length = read.unwrap_or(0);
                if length == 0 {
                    return None;
                }
                if let Err(excess) = watch.output(length, Instant::now()) {
                    return Some(excess);
                }
                lines.push(&piece[..length], sink);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                if let Err(excess) = watch.check(Instant::now()) {
                    return Some(excess);
                }
            }
        }
        if let Err(excess) = watch.check(Instant::now()) {
            return Some(excess);
        }
    }
}

/// A build program that could not be executed is a build that failed: what Nix
/// writes to its log, and the end that stands for it.
fn not_executed(ended: &Result<Ended, SandboxError>, sandboxed: bool) -> Option<(String, Ended)> {
    let Err(SandboxError::Setup(error)) = ended else {
        return None;
    };
    if error.attempt != Attempt::Execute {
        return None;
    }
    let cause = std::io::Error::from_raw_os_error(error.errno).to_string();
    let cause = cause.split(" (os error").next().unwrap_or_default();
    let text = format!("error: executing '{}': {cause}", error.path.display());
    let ended = Ended {
        status: Status::Exited(1),
        cut: None::<Cut>,
        usage: Usage::default(),
        sandboxed,
    };
    Some((text, ended))
}
