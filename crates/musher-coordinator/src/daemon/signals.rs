//! The signals that a daemon is told things by. They are caught from its
//! beginning: one that comes while it starts is heard once it can be.

use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::rpc::ReloadConfig;

/// What has come and was not heard yet.
pub(super) struct Signals {
    stop: Option<(Signal, Signal)>,
    hangup: Option<Signal>,
}

impl Signals {
    /// Must be called within a tokio runtime.
    pub(super) fn catch() -> Self {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        let stop = signal(terminate).and_then(|first| Ok((first, signal(interrupt)?)));
        let hangup = signal(SignalKind::hangup());
        if stop.is_err() || hangup.is_err() {
            warn!("signals cannot be caught; kill the daemon to stop it");
        }
        Self {
            stop: stop.ok(),
            hangup: hangup.ok(),
        }
    }

    /// What comes of `work`; nothing if the daemon is told to stop before.
    pub(super) async fn or_stop<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = stop(&mut self.stop) => None,
        }
    }

    /// Waits for the signal to stop; answers SIGHUP meanwhile.
    pub(super) async fn answer(&mut self, reload: &ReloadConfig) {
        let Self { stop: ends, hangup } = self;
        let hung_up = async || match hangup {
            Some(hangup) => {
                hangup.recv().await;
            }
            None => std::future::pending().await,
        };
        answer(stop(ends), hung_up, reload).await;
    }
}

async fn stop(signals: &mut Option<(Signal, Signal)>) {
    let Some((terminate, interrupt)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Reads the configuration again each time `hung_up` says so, until `stop`,
/// which need not wait for that.
async fn answer(
    stop: impl Future<Output = ()>,
    mut hung_up: impl AsyncFnMut(),
    reload: &ReloadConfig,
) {
    let again = async {
        loop {
            hung_up().await;
            match reload().await {
                Ok(changes) => info!(?changes, "configuration read again"),
                Err(error) => warn!(error, "configuration left as it was"),
            }
        }
    };
    let mut again = pin!(again);
    tokio::select! {
        () = stop => {}
        () = &mut again => {}
    }
}

/// Waits until another daemon asks for room.
pub(super) async fn room_is_wanted(wanted: &mut Option<Signal>) {
    match wanted {
        Some(wanted) => {
            wanted.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The signal by which it does so.
pub(super) fn room() -> Option<Signal> {
    signal(SignalKind::user_defined1()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::answer;
    use crate::rpc::ReloadConfig;

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_does_not_wait_until_the_configuration_is_read() {
        let (began, mut reads) = mpsc::unbounded_channel();
        let reload: ReloadConfig = Arc::new(move || {
            let began = began.clone();
            Box::pin(async move {
                // The test may have ended.
                let _ = began.send(());
                std::future::pending().await
            })
        });
        let stop = async {
            reads.recv().await.expect("it is read");
        };
        let hung_up = async || {};
        let answered = answer(stop, hung_up, &reload);
        let ended = timeout(Duration::from_secs(60), answered).await;
        ended.expect("it stops while it reads");
    }
}
