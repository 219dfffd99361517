//! When paths were last used, which Nix does not keep: a database of our own in
//! `musher/last-use.sqlite` beside Nix's. Losing it loses nothing but the order
//! in which garbage is collected.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix_derivation::StorePath;
use rusqlite::{Connection, ErrorCode, params};

use super::layout::Layout;

/// Uses kept in memory before they are written down.
const MOST: usize = 4096;
/// How long they are kept there.
const LONGEST: Duration = Duration::from_secs(30);
/// How long to wait for another writer. Nothing that matters is lost.
const BUSY: Duration = Duration::from_secs(5);

/// The times of last use of a store's paths.
#[derive(Debug)]
pub(super) struct LastUse {
    path: PathBuf,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    /// By the path's base name; in seconds since 1970.
    uses: BTreeMap<String, i64>,
    since: Instant,
}

impl LastUse {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            path: layout.last_use(),
            noted: Mutex::new(Noted {
                uses: BTreeMap::new(),
                since: Instant::now(),
            }),
        }
    }

    /// Notes that `paths` are used now.
    pub(super) fn note<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) {
        let now = now();
        let mut noted = self.noted();
        if noted.uses.is_empty() {
            noted.since = Instant::now();
        }
        let uses = paths.into_iter().map(|path| (path.to_basename(), now));
        noted.uses.extend(uses);
        if noted.uses.len() >= MOST || noted.since.elapsed() >= LONGEST {
            write_down(&self.path, &mut noted);
        }
    }

    /// When paths were last used, by base name, in seconds since 1970. Of a
    /// path that is missing nothing is known; of none if the database is damaged,
    /// which is then put aside.
    pub(super) fn all(&self) -> BTreeMap<String, i64> {
        write_down(&self.path, &mut self.noted());
        if !self.path.exists() {
            return BTreeMap::new();
        }
        let read = || -> rusqlite::Result<BTreeMap<String, i64>> {
            open(&self.path)?
                .prepare("select path, time from LastUse")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().unwrap_or_else(|error| {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot read when paths were used");
            if !is_passing(&error) {
                self.put_aside();
            }
            BTreeMap::new()
        })
    }

    /// Forgets paths that are gone, by base name. Those that it cannot forget
    /// are forgotten the next time.
    pub(super) fn forget(&self, paths: &[String]) {
        if paths.is_empty() || !self.path.exists() {
            return;
        }
        let delete = || -> rusqlite::Result<()> {
            let mut connection = open(&self.path)?;
            let transaction = connection.transaction()?;
            for path in paths {
                transaction
                    .prepare_cached("delete from LastUse where path = ?1")?
                    .execute([path])?;
            }
            transaction.commit()
        };
        if let Err(error) = delete() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot forget when paths were used");
        }
    }

    /// Makes room for a new database, and keeps the old one for whoever wants to
    /// know what became of it.
    fn put_aside(&self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".damaged");
        if let Err(error) = fs::rename(&self.path, aside) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot put the damaged database aside");
            return;
        }
        for suffix in ["-wal", "-shm"] {
            let mut log = self.path.clone().into_os_string();
            log.push(suffix);
            // There need not be one.
            let _ = fs::remove_file(log);
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LastUse {
    fn drop(&mut self) {
        let noted = self.noted.get_mut();
        write_down(&self.path, noted.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether it may be better another time: nothing is wrong with the database.
fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
        )
    )
}

/// Writes down what was noted. What cannot be written is forgotten: the worst
/// that follows is that something is collected early.
fn write_down(path: &PathBuf, noted: &mut Noted) {
    let uses = std::mem::take(&mut noted.uses);
    if uses.is_empty() {
        return;
    }
    let write = || -> rusqlite::Result<()> {
        let mut connection = open(path)?;
        let transaction = connection.transaction()?;
        for (path, time) in &uses {
            transaction
                .prepare_cached(
                    "insert into LastUse (path, time) values (?1, ?2) \
                     on conflict (path) do update set time = max(time, excluded.time)",
                )?
                .execute(params![path, time])?;
        }
        transaction.commit()
    };
    if let Err(error) = write() {
        tracing::warn!(path = %path.display(), %error, "cannot note when paths were used");
    }
}

fn open(path: &PathBuf) -> rusqlite::Result<Connection> {
    if let Some(dir) = path.parent() {
        // Opening says what is wrong with it.
        let _ = fs::create_dir_all(dir);
    }
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.execute_batch(
        "create table if not exists LastUse (path text primary key not null, time integer not null) \
         without rowid",
    )?;
    Ok(connection)
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
