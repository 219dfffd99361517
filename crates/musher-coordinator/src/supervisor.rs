//! Keeps one machine connected: connects, waits for the loss, waits a while,
//! connects again. Tells the core what it finds.

use std::sync::Arc;

use musher_scheduler::MachineId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use crate::backoff::Backoff;
use crate::builder::Builder;
use crate::core::{Command, CoreHandle, MachineNews};

/// The task that keeps a machine connected. Ends, and disconnects, when
/// dropped.
pub(crate) struct Supervisor {
    task: AbortHandle,
    check: Arc<Notify>,
}

impl Supervisor {
    /// An attempt was lost there: find out whether the machine still answers.
    pub(crate) fn check(&self) {
        self.check.notify_one();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts keeping `machine` connected.
///
/// `turn` goes along with the news: those of a machine that was replaced may
/// arrive late.
pub(crate) fn supervise(
    machine: MachineId,
    turn: u64,
    builder: Arc<dyn Builder>,
    core: CoreHandle,
) -> Supervisor {
    let check = Arc::new(Notify::new());
    let task = tokio::spawn(keep(machine, turn, builder, core, check.clone()));
    Supervisor {
        task: task.abort_handle(),
        check,
    }
}

async fn keep(
    machine: MachineId,
    turn: u64,
    builder: Arc<dyn Builder>,
    core: CoreHandle,
    check: Arc<Notify>,
) {
    let mut backoff = Backoff::default();
    let tell = async |news| {
        core.send(Command::Machine {
            machine: machine.clone(),
            turn,
            news,
        })
        .await;
    };
    loop {
        let reason = match builder.connect().await {
            Ok(info) => {
                backoff.reset();
                tell(MachineNews::Up(info)).await;
                tokio::select! {
                    reason = builder.lost() => reason,
                    // Connecting again while connected asks whether it still
                    // answers, and disturbs nothing if it does.
                    () = check.notified() => continue,
                }
            }
            Err(error) => {
                debug!(%machine, error = crate::error_text(&error), "machine cannot be reached");
                crate::short_text(&error)
            }
        };
        builder.disconnect().await;
        let retry_in = backoff.next(rand::random());
        tell(MachineNews::Away { reason, retry_in }).await;
        sleep(retry_in).await;
    }
}
