//! The locks that one daemon holds: of its directory of sockets, and of what it
//! keeps, which two daemons with different sockets may not share.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use musher_store::{LockError, LockHolder, lock_within};
use rustix::process::{Pid, Signal, kill_process};
use tracing::info;

use super::{DaemonError, DaemonPlaces, Lifetime};

/// How long a daemon that was started on demand waits for one before it to end,
/// and one that was started to stay for one that ends when it is asked to.
const TURN: Duration = Duration::from_secs(10);

/// What is written into its lock by a daemon that makes room when it is asked
/// to by SIGUSR1.
const ON_DEMAND: &str = "on demand\n";

/// Held as long as the daemon runs.
pub(super) struct Locks {
    _run: File,
    _state: File,
}

impl Locks {
    /// Takes the locks of `places`.
    pub(super) async fn take(
        places: &DaemonPlaces,
        lifetime: Lifetime,
    ) -> Result<Self, DaemonError> {
        let run = places.run.join("daemon.lock");
        let run_file = open(&run).map_err(file("open", &run))?;
        let mut on_demand = false;
        let bound = match lifetime {
            // One that ends just now has let go of its socket already.
            Lifetime::OnDemand(_) => TURN,
            Lifetime::UntilStopped => {
                on_demand = ask_for_room(&run_file);
                if on_demand { TURN } else { Duration::ZERO }
            }
        };
        lock(&run_file, &run, bound, |holder| DaemonError::Running {
            lock: run.clone(),
            holder,
            on_demand,
        })
        .await?;
        let says = match lifetime {
            Lifetime::OnDemand(_) => ON_DEMAND,
            Lifetime::UntilStopped => "",
        };
        write(&run_file, says).map_err(file("write", &run))?;

        // Not the same name: both directories may be one.
        let state = places.state.join("state.lock");
        let state_file = open(&state).map_err(file("open", &state))?;
        lock(&state_file, &state, bound, |holder| DaemonError::Shared {
            state: places.state.clone(),
            run: read(&state_file).trim_end().into(),
            holder,
        })
        .await?;
        let says = format!("{}\n", places.run.display());
        write(&state_file, &says).map_err(file("write", &state))?;
        Ok(Self {
            _run: run_file,
            _state: state_file,
        })
    }
}

fn file(what: &'static str, path: &Path) -> impl Fn(io::Error) -> DaemonError {
    move |source| DaemonError::File {
        what,
        path: path.to_owned(),
        source,
    }
}

async fn lock(
    lock: &File,
    path: &Path,
    bound: Duration,
    held: impl FnOnce(Option<LockHolder>) -> DaemonError,
) -> Result<(), DaemonError> {
    match lock_within(lock, bound).await {
        Ok(()) => Ok(()),
        Err(LockError::Held { holder }) => Err(held(holder)),
        Err(LockError::Io(error)) => Err(file("lock", path)(error)),
    }
}

/// Asks whoever holds the lock to make room, if it is one that does.
fn ask_for_room(lock: &File) -> bool {
    let Some(holder) = LockHolder::of(lock).filter(|_| read(lock) == ON_DEMAND) else {
        return false;
    };
    info!(%holder, "a coordinator that was started on demand is asked to make room");
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    // It may be about to end, or somebody else's; how long it takes tells.
    pid.is_some_and(|pid| kill_process(pid, Signal::USR1).is_ok())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Who holds it has written into it.
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

fn read(mut lock: &File) -> String {
    let mut text = String::new();
    // What cannot be read says nothing.
    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
    text
}

fn write(mut lock: &File, text: &str) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(text.as_bytes())
}
