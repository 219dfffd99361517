//! The paths that the holders of one open store use, and the list on disk that
//! tells collectors of them. That list only grows, so that whoever reads it finds
//! whole paths; it is replaced by a shorter one when most of it is not in use any
//! more, and goes when nothing is.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{self, AtomicBool};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix_derivation::StorePath;

use super::super::LocalError;
use super::super::flock::{Hold, open_lock, try_lock_file, unlock_file};
use super::super::gc;
use super::super::last_use::LastUse;
use super::super::layout::Layout;
use super::list::List;
use crate::LockHolder;

/// How long a collector gets to open its socket before it is asked again.
const COLLECTOR_STARTS: Duration = Duration::from_millis(20);
/// How long a collector may take to answer. It does so at once, unless it is
/// deleting just that path.
const COLLECTOR_ANSWERS: Duration = Duration::from_secs(300);
/// How long one may run that answers nobody: an old Nix opens no socket.
const OLD_COLLECTOR_ENDS: Duration = Duration::from_secs(3600);
/// How long it is waited for in silence.
const PATIENCE: Duration = Duration::from_secs(5);
/// Paths that may be listed and not in use while others are in use.
const SLACK: usize = 64;

/// The right to a path: as long as there is one outside of [`State`], it is in
/// use.
#[derive(Debug, Clone)]
pub(super) struct Use(Arc<Listed>);

#[derive(Debug)]
struct Listed {
    path: StorePath,
    /// Whether every collector knows of it.
    known: AtomicBool,
}

impl Use {
    fn new(path: &StorePath) -> Self {
        Self(Arc::new(Listed {
            path: path.clone(),
            known: AtomicBool::new(false),
        }))
    }

    /// Whether there are no more than `count`, that of [`State`] among them.
    /// They only become more while somebody has locked that.
    fn is_at_most(&self, count: usize) -> bool {
        Arc::strong_count(&self.0) <= count
    }
}

impl Borrow<StorePath> for Use {
    fn borrow(&self) -> &StorePath {
        &self.0.path
    }
}

impl Ord for Use {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.path.cmp(&other.0.path)
    }
}

impl PartialOrd for Use {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Use {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Use {}

/// All paths in use of one open store.
#[derive(Debug)]
pub(in crate::local) struct InUse {
    layout: Layout,
    last_use: Arc<LastUse>,
    /// Held by a collector for as long as it runs.
    gc_lock: OnceLock<File>,
    /// How long a collector may take to answer.
    bound: Duration,
    state: Mutex<State>,
}

/// A wait for a collector.
#[derive(Debug)]
struct Wait {
    since: Instant,
    /// Whether it was said that there is one.
    said: bool,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            said: false,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    list: Option<List>,
    /// What the list has.
    listed: BTreeSet<Use>,
    /// How many of those nobody uses.
    unused: usize,
}

impl InUse {
    pub(in crate::local) fn new(layout: &Layout, last_use: &Arc<LastUse>) -> Self {
        Self {
            layout: layout.clone(),
            last_use: Arc::clone(last_use),
            gc_lock: OnceLock::new(),
            bound: COLLECTOR_ANSWERS,
            state: Mutex::default(),
        }
    }

    /// Makes sure that paths can be added.
    pub(super) fn prepare(&self) -> Result<(), LocalError> {
        self.gc_lock().map(drop)
    }

    /// Notes that `paths` are used now.
    pub(super) fn note(&self, paths: &[&StorePath]) {
        self.last_use.note(paths.iter().copied());
    }

    /// Has `paths` listed, and makes sure that every collector knows of them.
    pub(super) fn add(&self, paths: &[&StorePath]) -> Result<Vec<Use>, LocalError> {
        let uses = self.state().take(&self.layout, paths)?;
        // One that another holder has just added may not be known yet.
        let unknown = |part: &&Use| !part.0.known.load(atomic::Ordering::Acquire);
        let unknown: Vec<&Use> = uses.iter().filter(unknown).collect();
        if !unknown.is_empty() {
            if let Err(error) = self.make_known(&unknown) {
                self.release(uses);
                return Err(error);
            }
            for part in unknown {
                part.0.known.store(true, atomic::Ordering::Release);
            }
        }
        Ok(uses)
    }

    /// Gives up `uses`.
    pub(super) fn release(&self, uses: impl IntoIterator<Item = Use>) {
        let mut state = self.state();
        state.drop_all(uses);
        if state.unused == state.listed.len() {
            *state = State::default();
        } else if state.unused > SLACK && state.unused > state.listed.len() / 2 {
            self.shorten(&mut state);
        }
    }

    /// Has nothing listed that nobody uses.
    pub(in crate::local) fn tidy(&self) {
        let mut state = self.state();
        if state.unused > 0 {
            self.shorten(&mut state);
        }
    }

    /// Replaces the list. Where that cannot be, the old one says too much, which
    /// is no harm but to the disk.
    fn shorten(&self, state: &mut State) {
        let mut shorten = || -> Result<bool, LocalError> {
            // A collector that looks for lists meanwhile could miss both. The
            // lock is not that of `gc_lock`, which others let go of.
            let path = self.layout.gc_lock();
            let lock = open_lock(&path)?;
            if !try_lock_file(&lock, &path, Hold::Shared)? {
                return Ok(false);
            }
            let mut list = List::create(&self.layout.temp_roots())?;
            let used = state.listed.iter().filter(|part| !part.is_at_most(1));
            let used: Vec<&StorePath> = used.map(|part| &part.0.path).collect();
            list.append(&text(&self.layout, &used))?;
            // Under the lock, as the old one goes with this.
            state.list = Some(list);
            Ok(true)
        };
        match shorten() {
            Ok(false) => {}
            Ok(true) => {
                state.listed.retain(|part| !part.is_at_most(1));
                state.unused = 0;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "cannot shorten the list of paths in use");
            }
        }
    }

    /// Makes sure that every collector knows of what was listed: those that start
    /// from now on read the list, and one that runs is told.
    fn make_known(&self, uses: &[&Use]) -> Result<(), LocalError> {
        let gc_lock = self.gc_lock()?;
        let path = self.layout.gc_lock();
        let mut wait = Wait::default();
        loop {
            // That it can be had for a moment is all: nobody else needs to wait.
            if try_lock_file(gc_lock, &path, Hold::Shared)? {
                return unlock_file(gc_lock, &path);
            }
            if self.tell_collector(uses, &mut wait)? {
                return Ok(());
            }
            // It has not opened its socket yet, or is about to end.
            thread::sleep(COLLECTOR_STARTS);
            self.goes_on(&mut wait, OLD_COLLECTOR_ENDS)?;
        }
    }

    /// Tells a running collector of new roots, and waits until it is not about
    /// to delete them. Whether it answered.
    fn tell_collector(&self, uses: &[&Use], wait: &mut Wait) -> Result<bool, LocalError> {
        let socket = self.layout.gc_socket();
        let failed = LocalError::io("tell the garbage collector at", &socket);
        let mut stream = match gc::connect(&socket) {
            Ok(stream) => stream,
            Err(error) if is_over(&error) => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let look = Some(PATIENCE.min(self.bound));
        (stream.set_read_timeout(look))
            .and_then(|()| stream.set_write_timeout(look))
            .map_err(&failed)?;
        for part in uses {
            let line = format!("{}\n", self.layout.render(&part.0.path));
            match self.exchange(&mut stream, line.as_bytes(), wait)? {
                Ok(()) => {}
                Err(error) if is_over(&error) => return Ok(false),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(true)
    }

    /// Sends a line, and waits for the byte that answers it.
    fn exchange(
        &self,
        stream: &mut UnixStream,
        line: &[u8],
        wait: &mut Wait,
    ) -> Result<io::Result<()>, LocalError> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.patiently(wait, || stream.write(rest))? {
                Ok(0) => return Ok(Err(ErrorKind::WriteZero.into())),
                Ok(count) => rest = &rest[count..],
                Err(error) => return Ok(Err(error)),
            }
        }
        let answer = self.patiently(wait, || stream.read(&mut [0]))?;
        Ok(answer.and_then(|count| match count {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }))
    }

    /// Does `step`, which has a time limit, until it is done or takes too long.
    fn patiently<T>(
        &self,
        wait: &mut Wait,
        mut step: impl FnMut() -> io::Result<T>,
    ) -> Result<io::Result<T>, LocalError> {
        loop {
            match step() {
                Err(error) if is_late(&error) => self.goes_on(wait, self.bound)?,
                done => return Ok(done),
            }
        }
    }

    /// Says what is waited for, or that it is waited for no longer.
    fn goes_on(&self, wait: &mut Wait, bound: Duration) -> Result<(), LocalError> {
        let waited = wait.since.elapsed();
        if waited >= bound {
            return Err(LocalError::SilentCollector {
                lock: self.layout.gc_lock(),
                holder: self.collector(),
                after: bound,
            });
        }
        if waited >= PATIENCE && !wait.said {
            wait.said = true;
            let holder = self.collector().map(|holder| holder.to_string());
            tracing::warn!(
                holder,
                "waiting for a garbage collector to take note of paths in use"
            );
        }
        Ok(())
    }

    /// Who collects, if that can be seen.
    fn collector(&self) -> Option<LockHolder> {
        LockHolder::of(self.gc_lock.get()?)
    }

    fn gc_lock(&self) -> Result<&File, LocalError> {
        if let Some(file) = self.gc_lock.get() {
            return Ok(file);
        }
        let file = open_lock(&self.layout.gc_lock())?;
        Ok(self.gc_lock.get_or_init(|| file))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The right to each of `paths`, those that are new being listed.
    fn take(&mut self, layout: &Layout, paths: &[&StorePath]) -> Result<Vec<Use>, LocalError> {
        let mut uses = Vec::with_capacity(paths.len());
        let mut new = Vec::new();
        for path in paths {
            let part = match self.listed.get(*path) {
                Some(part) => {
                    self.unused -= usize::from(part.is_at_most(1));
                    part.clone()
                }
                None => {
                    new.push(*path);
                    let part = Use::new(path);
                    self.listed.insert(part.clone());
                    part
                }
            };
            uses.push(part);
        }
        if new.is_empty() {
            return Ok(uses);
        }
        if let Err(error) = self.list(layout, &new) {
            self.drop_all(uses);
            for path in new {
                self.unused -= usize::from(self.listed.remove(path));
            }
            return Err(error);
        }
        Ok(uses)
    }

    fn list(&mut self, layout: &Layout, paths: &[&StorePath]) -> Result<(), LocalError> {
        let list = match &mut self.list {
            Some(list) => list,
            none => none.insert(List::create(&layout.temp_roots())?),
        };
        list.append(&text(layout, paths))
    }

    fn drop_all(&mut self, uses: impl IntoIterator<Item = Use>) {
        for part in uses {
            self.unused += usize::from(part.is_at_most(2));
        }
    }
}

fn text(layout: &Layout, paths: &[&StorePath]) -> String {
    let mut text = String::new();
    for path in paths {
        text.push_str(&layout.render(path));
        text.push('\0');
    }
    text
}

/// Whether something took longer than it was to be waited for.
fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Whether a collector does not listen yet, or not any more.
fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::super::flock::{Hold, Lock};
    use super::super::super::{LocalError, LocalOptions, LocalStore};
    use super::InUse;
    use nix_derivation::StorePath;

    #[test]
    fn a_collector_that_was_stopped_is_named_and_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LocalStore::open(LocalOptions::below(dir.path())).expect("a store");
        let mut in_use = InUse::new(&store.layout, &store.last_use);
        in_use.bound = Duration::from_millis(10);
        // As of one that was stopped: it has the lock, and its socket.
        let _lock = Lock::wait(&store.layout.gc_lock(), Hold::Exclusive).expect("free");
        let socket = store.layout.gc_socket();
        std::fs::create_dir_all(socket.parent().expect("a directory")).expect("made");
        let _socket = UnixListener::bind(&socket).expect("bound");
        let path = StorePath::from_parts([7; 20], "lib").expect("a path");
        let in_use = Arc::new(in_use);
        let added = super::super::TempRoots::new(&in_use).and_then(|roots| roots.add(&path));
        let Err(LocalError::SilentCollector { holder, .. }) = added else {
            panic!("nobody answers: {added:?}");
        };
        assert_eq!(holder.map(|holder| holder.pid), Some(std::process::id()));
    }
}
