//! A program on this host, spoken to over its standard input and output.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use crate::open_files;

use super::{Exit, ExitReporter, Peer, Stderr, Transport, TransportError};

/// How long a program may take to end once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

pub(super) fn start(command: &[String]) -> Result<Transport, TransportError> {
    let (program, arguments) = command.split_first().ok_or(TransportError::NoProgram)?;
    let failed = |source| TransportError::Start {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        // It may be a worker.
        .env(open_files::VARIABLE, open_files::told())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: Ctrl-C reaches us alone, and all that the program
        // started can be ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(failed(std::io::Error::other("its pipes are missing")));
    };
    let (report, exit) = watch::channel(None);
    let (keep, dropped) = oneshot::channel::<()>();
    tokio::spawn(watch_over(child, dropped, report));
    let peer = Peer::new(shell_words::join(command), Stderr::read(stderr), exit, keep);
    Ok(Transport {
        reader: Box::new(stdout),
        writer: Box::new(stdin),
        peer,
    })
}

/// Waits for the child's end, and sees to it once the peer is dropped.
async fn watch_over(mut child: Child, dropped: oneshot::Receiver<()>, report: ExitReporter) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = dropped => match tokio::time::timeout(GRACE, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                kill_group(&child);
                child.wait().await
            }
        },
    };
    report.send_replace(Some(status.map_or(Exit::Lost, exit_of)));
}

/// Kills a child that leads a process group, and the group with it.
pub(crate) fn kill_group(child: &Child) {
    // The id is absent once the child is reaped, so it cannot be another's.
    let leader = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(leader) = leader.and_then(Pid::from_raw) {
        // It may have gone meanwhile, which is as good.
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Lost,
    }
}
