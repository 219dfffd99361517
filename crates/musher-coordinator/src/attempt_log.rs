//! The log of one attempt: written as it arrives, read by any number of
//! readers, each at its own pace. On disk, so that a slow reader costs no
//! memory, and gone from there with its last reader. Holds what Nix holds in its own build logs: lines, and
//! `@nix {"action":"setPhase",…}` lines between them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

/// Bytes given to a reader at once.
const CHUNK: usize = 64 << 10;

/// A log's length in bytes, and whether it can still grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    length: u64,
    complete: bool,
}

/// The file of a log. Removed when nobody writes or reads it any more.
#[derive(Debug)]
struct LogFile(PathBuf);

impl Drop for LogFile {
    fn drop(&mut self) {
        // A log without a byte has no file.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The writing end of a log. Dropping it completes the log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: Arc<LogFile>,
    /// Opened at the first byte: most trivial builds say nothing.
    file: Option<File>,
    extent: watch::Sender<Extent>,
}

/// A log that can be read while it is written.
#[derive(Debug, Clone)]
pub(crate) struct AttemptLog {
    path: Arc<LogFile>,
    extent: watch::Receiver<Extent>,
}

/// A new log at `path`, whose directory exists.
pub(crate) fn attempt_log(path: PathBuf) -> (LogWriter, AttemptLog) {
    let (sender, extent) = watch::channel(Extent {
        length: 0,
        complete: false,
    });
    let path = Arc::new(LogFile(path));
    let log = AttemptLog {
        path: path.clone(),
        extent,
    };
    (
        LogWriter {
            path,
            file: None,
            extent: sender,
        },
        log,
    )
}

impl LogWriter {
    /// Appends `bytes`, which readers see at once.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .mode(0o640)
                    .open(&self.path.0)?,
            ),
        };
        file.write_all(bytes)?;
        self.extent
            .send_modify(|extent| extent.length += bytes.len() as u64);
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn length(&self) -> u64 {
        self.extent.borrow().length
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.extent.send_modify(|extent| extent.complete = true);
    }
}

impl AttemptLog {
    /// Gives the log's file a second name, under which it stays; says whether
    /// there is one.
    pub(crate) fn link(&self, path: &Path) -> io::Result<bool> {
        if self.extent.borrow().length == 0 {
            return Ok(false);
        }
        std::fs::hard_link(&self.path.0, path).map(|()| true)
    }

    /// Bytes written so far.
    #[cfg(test)]
    pub(crate) fn length(&self) -> u64 {
        self.extent.borrow().length
    }

    /// Bytes from `offset` on, as many as are there up to 64 KiB; none once the
    /// log is complete and ends there. Waits for the first one. They end where a
    /// line ends, unless it is longer than that.
    pub(crate) async fn read(&mut self, offset: u64) -> io::Result<Option<Bytes>> {
        // An error means that the writer is gone; what it left is complete.
        let _ = self
            .extent
            .wait_for(|extent| extent.length > offset || extent.complete)
            .await;
        let length = self.extent.borrow().length;
        if length <= offset {
            return Ok(None);
        }
        let count = usize::try_from(length - offset).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = vec![0; count];
        File::open(&self.path.0)?.read_exact_at(&mut bytes, offset)?;
        // Lines are written whole, so that only this limit cuts one.
        let cut = length - offset > count as u64;
        if let Some(end) = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .filter(|_| cut)
        {
            bytes.truncate(end + 1);
        }
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::attempt_log;

    #[tokio::test]
    async fn a_reader_sees_what_is_written_later_and_then_the_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut writer, mut log) = attempt_log(dir.path().join("log"));
        let reader = tokio::spawn(async move {
            let first = log.read(0).await.expect("readable");
            let second = log.read(4).await.expect("readable");
            let end = log.read(8).await.expect("readable");
            (first, second, end)
        });
        writer.append(b"one\n").expect("writable");
        tokio::task::yield_now().await;
        writer.append(b"two\n").expect("writable");
        assert_eq!(writer.length(), 8);
        drop(writer);
        let (first, second, end) = reader.await.expect("no panic");
        assert_eq!(&first.expect("bytes")[..4], b"one\n");
        assert_eq!(second.as_deref(), Some(&b"two\n"[..]));
        assert_eq!(end, None);
    }
}
