//! Nix's database of valid paths: connections to it and their settings.

mod check;
mod drv_outputs;
mod garbage;
mod query;
mod realisations;
mod register;
mod row;
mod schema;

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix_derivation::{StoreDir, StorePath};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::drv_hashes::DrvHashes;
use super::flock::{Hold, lock_file};
use super::layout::{Layout, SCHEMA};
use super::{Access, Durability, LocalError};

/// How long to wait for another writer, as Nix does: a long transaction of
/// somebody else's is no error.
const BUSY: Duration = Duration::from_secs(60 * 60);
/// Connections kept for later use.
const IDLE: usize = 8;
/// Prepared statements kept a connection.
const STATEMENTS: usize = 40;
/// Pages in the write-ahead log before it is copied into the database, as in
/// Nix; that is when the disk is waited for.
const CHECKPOINT: u32 = 40_000;

/// The database of one store.
pub(super) struct Database {
    path: PathBuf,
    store_dir: StoreDir,
    mode: Mode,
    durability: Durability,
    idle: Mutex<Vec<Connection>>,
    drv_hashes: DrvHashes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    ReadWrite,
    ReadOnly,
    /// Nobody changes it, and nothing beside it can be written.
    Immutable,
}

impl Database {
    /// Opens the database, and makes it if there is none and that is allowed.
    pub(super) fn open(
        layout: &Layout,
        access: Access,
        durability: Durability,
    ) -> Result<Self, LocalError> {
        let mode = match access {
            Access::ReadWrite => Mode::ReadWrite,
            Access::ReadOnly => Mode::ReadOnly,
        };
        let mut database = Self {
            path: layout.database(),
            store_dir: layout.store_dir.clone(),
            mode,
            durability,
            idle: Mutex::default(),
            drv_hashes: DrvHashes::default(),
        };
        match layout.read_schema()? {
            Some(SCHEMA) => {}
            Some(found) => {
                return Err(LocalError::OtherSchema {
                    path: layout.schema(),
                    found,
                });
            }
            None if access == Access::ReadOnly => {
                return Err(LocalError::NoStore {
                    path: layout.store.clone(),
                });
            }
            None => database.create(layout)?,
        }
        let first = match database.connect(false) {
            Err(_) if database.mode == Mode::ReadOnly && !has_log(&database.path) => {
                database.mode = Mode::Immutable;
                database.connect(false)?
            }
            opened => opened?,
        };
        if access == Access::ReadWrite {
            schema::add_ours(&first).map_err(database.failed("make the tables"))?;
        }
        database.give_back(first);
        Ok(database)
    }

    /// Makes the database, unless somebody else does so first.
    fn create(&self, layout: &Layout) -> Result<(), LocalError> {
        let dir = self.path.parent().unwrap_or(&self.path);
        let alone = File::open(dir).map_err(LocalError::io("open", dir))?;
        // Not that of the schema, which those who have the store open hold.
        lock_file(&alone, dir, Hold::Exclusive)?;
        if layout.read_schema()?.is_none() {
            let connection = self.connect(true)?;
            schema::create(&connection).map_err(self.failed("make the tables"))?;
            layout.write_schema()?;
        }
        Ok(())
    }

    /// A connection, given back when it is dropped.
    pub(super) fn session(&self) -> Result<Session<'_>, LocalError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect(false)?,
        };
        Ok(Session {
            database: self,
            connection: Some(connection),
        })
    }

    fn give_back(&self, connection: Connection) {
        // One that was left in the middle of a transaction is of no use.
        if !connection.is_autocommit() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    fn connect(&self, create: bool) -> Result<Connection, LocalError> {
        let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        flags |= match self.mode {
            Mode::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Mode::ReadOnly | Mode::Immutable => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let mut uri = format!("file:{}", uri_path(&self.path));
        if self.mode == Mode::Immutable {
            uri.push_str("?immutable=1");
        }
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(uri, flags)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            if self.mode == Mode::ReadWrite {
                // With a write-ahead log a commit does not wait for the disk,
                // and a power cut loses the last commits but breaks nothing.
                connection.pragma_update(None, "synchronous", "normal")?;
                let mode: String =
                    connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
                if mode != "wal" {
                    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
                }
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
            }
            if self.durability == Durability::Paths && self.mode == Mode::ReadWrite {
                connection.pragma_update(None, "synchronous", "full")?;
            }
            // Opening alone reads nothing.
            connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        };
        connect().map_err(self.failed("open the tables"))
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(rusqlite::Error) -> LocalError {
        let path = self.path.clone();
        move |source| LocalError::Database {
            attempt,
            path: path.clone(),
            source,
        }
    }
}

/// A connection to the database, for one thread at a time.
pub(super) struct Session<'a> {
    database: &'a Database,
    /// There until it is dropped.
    connection: Option<Connection>,
}

impl Session<'_> {
    /// Runs `reads`, which all see the same state of the database.
    pub(super) fn consistent<T>(
        &self,
        reads: impl FnOnce() -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        self.transaction(TransactionBehavior::Deferred, reads)
    }

    /// Runs `changes`, of which all happen or none.
    fn atomically<T>(
        &self,
        changes: impl FnOnce() -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        // Immediate: a reader that turned writer could fail at any statement.
        self.transaction(TransactionBehavior::Immediate, changes)
    }

    fn transaction<T>(
        &self,
        behavior: TransactionBehavior,
        body: impl FnOnce() -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        let failed = self.failed("begin or end a transaction");
        let transaction = rusqlite::Transaction::new_unchecked(self, behavior).map_err(&failed)?;
        let result = body()?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(rusqlite::Error) -> LocalError {
        self.database.failed(attempt)
    }

    fn render(&self, path: &StorePath) -> String {
        self.database.store_dir.render_path(path)
    }

    fn bad_row(&self, what: &'static str, key: &str, found: &str) -> LocalError {
        LocalError::BadRow {
            path: self.database.path.clone(),
            what,
            key: key.to_owned(),
            found: found.chars().take(200).collect(),
        }
    }
}

impl Deref for Session<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        let connection = self.connection.as_ref();
        connection.unwrap_or_else(|| unreachable!("bug: a session without its connection"))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.database.give_back(connection);
        }
    }
}

/// Whether a log lies beside the database that must be read along with it.
fn has_log(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|found| found.len() > 0)
}

/// A path as SQLite's URIs have it.
fn uri_path(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
