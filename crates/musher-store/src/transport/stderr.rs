//! The standard error of a program at the other end. It is read always, since a
//! program that cannot write its messages stops; the last of it is kept to
//! explain an error, and whoever asks gets it line by line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::LineSplitter;

/// How many of the last lines are kept.
const KEPT_LINES: usize = 40;
/// How much of each of them, in bytes.
const KEPT_OF_A_LINE: usize = 1024;
/// How many lines may wait for whoever asked for them.
const WAITING_LINES: usize = 256;

/// A handle on one program's standard error. Clones share it; reading stops
/// when the last is dropped.
#[derive(Debug, Clone)]
pub struct Stderr {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    _reading: Arc<AbortOnDrop>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tail: VecDeque<String>,
    lines: Option<mpsc::Sender<Bytes>>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stderr {
    /// Starts to read. Must be called within a tokio runtime.
    pub(crate) fn read(source: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let (ended_in, ended) = watch::channel(false);
        let reading = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                shared.fill(source).await;
                ended_in.send_replace(true);
            }
        });
        Self {
            shared,
            ended,
            _reading: Arc::new(AbortOnDrop(reading.abort_handle())),
        }
    }

    /// The last lines, oldest first; bytes that are no text are replaced.
    pub fn tail(&self) -> Vec<String> {
        self.shared.lock().tail.iter().cloned().collect()
    }

    /// Every line from now on, without its newline. The receiver must be read
    /// or dropped: one that is left full stops the program at the other end.
    /// A second call takes over from the first.
    pub fn lines(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WAITING_LINES);
        if !*self.ended.borrow() {
            self.shared.lock().lines = Some(sender);
        }
        receiver
    }

    /// Waits until the program has closed its standard error.
    pub async fn ended(&self) {
        // An error means that the reader was aborted, which is an end too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fill(&self, mut source: impl AsyncRead + Unpin) {
        let mut splitter = LineSplitter::default();
        let mut buffer = vec![0; 8 * 1024];
        // A read error ends the messages as their end does.
        while let Ok(count @ 1..) = source.read(&mut buffer).await {
            for line in splitter.push(&buffer[..count]) {
                self.take(line).await;
            }
        }
        if let Some(line) = splitter.rest() {
            self.take(line).await;
        }
        self.lock().lines = None;
    }

    async fn take(&self, line: Vec<u8>) {
        let lines = {
            let mut state = self.lock();
            let kept = &line[..line.len().min(KEPT_OF_A_LINE)];
            let text = String::from_utf8_lossy(kept);
            state.tail.push_back(text.trim_end().to_owned());
            if state.tail.len() > KEPT_LINES {
                state.tail.pop_front();
            }
            state.lines.clone()
        };
        if let Some(lines) = lines {
            // Nobody listening is no reason to stop reading.
            let _ = lines.send(Bytes::from(line)).await;
        }
    }
}
