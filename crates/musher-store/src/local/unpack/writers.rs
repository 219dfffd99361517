//! Threads that write small files while the next ones are read: making a file
//! costs the kernel longer than a NAR needs to bring it. Knows no NARs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags, fchmod, fstat, futimens, openat};

use super::STORE_TIME;

/// A file up to this size is small, in bytes.
pub(super) const SMALL: u64 = 32 << 10;
/// Files that a thread is woken for.
const BATCH: usize = 32;
/// Batches that may wait. With those in hand that is 4 MiB a thread at most.
const AHEAD: usize = 4;
/// More would wait for each other in the file system.
const THREADS: usize = 4;

/// What became of the files and directories so far.
pub(super) struct Outcome {
    /// The first failure.
    failure: Mutex<Option<io::Error>>,
    failed: AtomicBool,
    canonical: AtomicBool,
    /// Whether a file was looked at, by whether it is executable.
    checked: [AtomicBool; 2],
}

impl Outcome {
    fn new() -> Self {
        Self {
            failure: Mutex::new(None),
            failed: AtomicBool::new(false),
            canonical: AtomicBool::new(true),
            checked: [const { AtomicBool::new(false) }; 2],
        }
    }

    fn note(&self, done: io::Result<()>) {
        if let Err(error) = done {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
            self.failed.store(true, Relaxed);
        }
    }

    /// Makes the file `name` in `parent`, with what `fill` puts there.
    pub(super) fn write_file(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        executable: bool,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mode = match executable {
            true => Mode::from_raw_mode(0o555),
            false => Mode::from_raw_mode(0o444),
        };
        // The mode is no hindrance to the one who makes the file.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, mode)?);
        fill(&mut file)?;
        futimens(&file, &STORE_TIME)?;
        // One look at the first of each kind says what the others got.
        if !self.checked[usize::from(executable)].swap(true, Relaxed) {
            let got = Mode::from_raw_mode(fstat(&file)?.st_mode);
            if got != mode {
                self.canonical.store(false, Relaxed);
            }
        }
        Ok(())
    }
}

/// A directory that is being filled. It gets its mode and time once the last
/// that is written to it, or below it, is done.
pub(super) struct Directory {
    fd: OwnedFd,
    outcome: Arc<Outcome>,
    _parent: Option<Arc<Self>>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        let done = fchmod(&self.fd, Mode::from_raw_mode(0o555))
            .and_then(|()| futimens(&self.fd, &STORE_TIME));
        self.outcome.note(done.map_err(io::Error::from));
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A small file that is to be written.
pub(super) struct SmallFile {
    pub(super) dir: Arc<Directory>,
    pub(super) name: OsString,
    pub(super) executable: bool,
    pub(super) contents: Vec<u8>,
}

impl SmallFile {
    fn write(&self, outcome: &Outcome) {
        outcome.note(
            outcome.write_file(self.dir.as_fd(), &self.name, self.executable, |file| {
                file.write_all(&self.contents)
            }),
        );
    }
}

type Batch = Vec<SmallFile>;

/// Whoever writes the files of one tree.
pub(super) struct Writers {
    outcome: Arc<Outcome>,
    pending: Batch,
    crew: Option<Crew>,
}

/// The threads, once there is enough to do.
struct Crew {
    batches: SyncSender<Batch>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(super) fn new() -> Self {
        Self {
            outcome: Arc::new(Outcome::new()),
            pending: Batch::new(),
            crew: None,
        }
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Takes over a directory, which was opened in `parent`.
    pub(super) fn directory(&self, fd: OwnedFd, parent: Option<Arc<Directory>>) -> Arc<Directory> {
        Arc::new(Directory {
            fd,
            outcome: Arc::clone(&self.outcome),
            _parent: parent,
        })
    }

    /// Has `file` written at some time. Waits when there is much to write; an
    /// error may be that of an earlier file.
    pub(super) fn write(&mut self, file: SmallFile) -> io::Result<()> {
        self.pending.push(file);
        if self.pending.len() < BATCH {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.pending);
        let crew = self.crew.get_or_insert_with(|| Crew::start(&self.outcome));
        if crew.threads.is_empty() {
            write_all(batch, &self.outcome);
        } else {
            // They end only when we do.
            let sent = crew.batches.send(batch);
            sent.map_err(|_| io::Error::other("bug: the writing threads are gone"))?;
        }
        match self.outcome.failed.load(Relaxed) {
            true => self.end().map(|_| ()),
            false => Ok(()),
        }
    }

    /// Waits until all is written. Whether every file got the mode that it was
    /// made with.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        write_all(std::mem::take(&mut self.pending), &self.outcome);
        self.end()
    }

    fn end(&mut self) -> io::Result<bool> {
        if let Some(crew) = self.crew.take() {
            crew.end();
        }
        let failure = &self.outcome.failure;
        let failure = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match failure {
            Some(error) => Err(error),
            None => Ok(self.outcome.canonical.load(Relaxed)),
        }
    }
}

impl Drop for Writers {
    /// Nobody writes to a tree that is given up.
    fn drop(&mut self) {
        if let Some(crew) = self.crew.take() {
            crew.end();
        }
    }
}

impl Crew {
    /// As many threads as are worth while and can be had, perhaps none.
    fn start(outcome: &Arc<Outcome>) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (batches, received) = sync_channel::<Batch>(AHEAD);
        let received = Arc::new(Mutex::new(received));
        let threads = match cores {
            1 => Vec::new(),
            _ => (0..cores.min(THREADS))
                .map_while(|_| {
                    let (outcome, received) = (Arc::clone(outcome), Arc::clone(&received));
                    let write = move || {
                        while let Some(batch) = next(&received) {
                            write_all(batch, &outcome);
                        }
                    };
                    let builder = thread::Builder::new().name("unpack".to_owned());
                    builder.spawn(write).ok()
                })
                .collect(),
        };
        Self { batches, threads }
    }

    fn end(self) {
        drop(self.batches);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn next(batches: &Mutex<Receiver<Batch>>) -> Option<Batch> {
    let batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
    batches.recv().ok()
}

/// After a failure only the directories are let go of.
fn write_all(batch: Batch, outcome: &Outcome) {
    for file in batch {
        if !outcome.failed.load(Relaxed) {
            file.write(outcome);
        }
    }
}
