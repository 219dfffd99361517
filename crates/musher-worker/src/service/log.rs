//! The log of one attempt: written as it comes, read by any number of readers,
//! each from where it likes. Lies in a file, so that a slow reader costs no
//! memory, and is removed with its last reader. Knows nothing of builds.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use musher_api::limits::CHUNK;
use tokio::sync::watch;

/// How far readers may read, and whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    readable: u64,
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
pub struct LogWriter {
    path: Arc<LogFile>,
    /// Opened at the first byte: most trivial builds say nothing.
    file: Option<File>,
    length: u64,
    extent: watch::Sender<Extent>,
}

/// A log that can be read while it is written.
#[derive(Debug, Clone)]
pub(super) struct AttemptLog {
    path: Arc<LogFile>,
    extent: watch::Receiver<Extent>,
}

/// A new log at `path`, whose directory exists.
pub(super) fn attempt_log(path: PathBuf) -> (LogWriter, AttemptLog) {
    let (sender, extent) = watch::channel(Extent {
        readable: 0,
        complete: false,
    });
    let path = Arc::new(LogFile(path));
    let log = AttemptLog {
        path: path.clone(),
        extent,
    };
    let writer = LogWriter {
        path,
        file: None,
        length: 0,
        extent: sender,
    };
    (writer, log)
}

impl LogWriter {
    /// Appends `bytes`. Readers see them once the line has ended, or is longer
    /// than a message holds.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&self.path.0)?,
            ),
        };
        file.write_all(bytes)?;
        let before = self.length;
        self.length += bytes.len() as u64;
        let line_end = bytes.iter().rposition(|byte| *byte == b'\n');
        let length = self.length;
        self.extent.send_if_modified(|extent| {
            let readable = match line_end {
                Some(at) => before + at as u64 + 1,
                None if length - extent.readable > CHUNK as u64 => length,
                None => extent.readable,
            };
            std::mem::replace(&mut extent.readable, readable) != readable
        });
        Ok(())
    }

    /// Appends `line` and a newline.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.write(&bytes)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let length = self.length;
        self.extent.send_modify(|extent| {
            extent.readable = length;
            extent.complete = true;
        });
    }
}

impl AttemptLog {
    /// Bytes that can be read so far.
    pub(super) fn length(&self) -> u64 {
        self.extent.borrow().readable
    }

    /// Bytes from `offset` on, as many as can be read up to 64 KiB; none once
    /// the log is complete and ends there. Waits for the first one. They end
    /// where a line ends, unless it is longer than that.
    pub(super) async fn read(&mut self, offset: u64) -> io::Result<Option<Bytes>> {
        // An error means that the writer is gone; what it left is complete.
        let _ = self
            .extent
            .wait_for(|extent| extent.readable > offset || extent.complete)
            .await;
        let readable = self.extent.borrow().readable;
        if readable <= offset {
            return Ok(None);
        }
        let there = readable - offset;
        let count = usize::try_from(there).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = vec![0; count];
        File::open(&self.path.0)?.read_exact_at(&mut bytes, offset)?;
        if let Some(end) = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .filter(|_| there > count as u64)
        {
            bytes.truncate(end + 1);
        }
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(log: &mut AttemptLog, offset: u64) -> Option<Vec<u8>> {
        let bytes = log.read(offset).await.expect("readable");
        bytes.map(|bytes| bytes.to_vec())
    }

    #[tokio::test]
    async fn lines_are_read_whole_from_any_offset() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("1.log");
        let (mut writer, mut log) = attempt_log(path.clone());
        writer.write(b"one\ntw").expect("writable");
        assert_eq!(log.length(), 4);
        writer.line(b"o").expect("writable");
        assert_eq!(read(&mut log, 0).await.as_deref(), Some(&b"one\ntwo\n"[..]));
        writer.write(b"rest").expect("writable");
        drop(writer);
        assert_eq!(read(&mut log, 8).await.as_deref(), Some(&b"rest"[..]));
        assert_eq!(read(&mut log, 12).await, None);
        assert_eq!(read(&mut log, 99).await, None);
        drop(log);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_line_without_end_is_read_in_pieces() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut writer, mut log) = attempt_log(dir.path().join("1.log"));
        for _ in 0..3 {
            writer.write(&[b'x'; CHUNK / 2]).expect("writable");
        }
        let first = read(&mut log, 0).await.expect("bytes");
        assert_eq!(first.len(), CHUNK);
    }
}
