//! The history's file: its tables, what is written into them and how they are
//! kept small. Their meaning is told in docs/formats/history.md.

mod graphs;
mod questions;
mod rows;

use std::path::Path;
use std::time::Duration;

use musher_scheduler::{Observation, package_name};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::PastAttempt;
use super::past::{kind_str, millis, plain_name};

pub(super) use graphs::PastRequest;
pub(super) use questions::Selection;
use rows::{attempt, int};

/// The version of the tables, which `user_version` tells.
const VERSION: i64 = 1;
/// How long to wait for another process that has it open.
const BUSY: Duration = Duration::from_secs(5);
/// Attempts kept of one package for one system.
const OF_PACKAGE: i64 = 20;
/// Attempts kept in all; a row takes some 270 bytes with its index.
const IN_ALL: i64 = 200_000;
/// Rows that may be too many before these are removed: to look for them costs.
const SLACK: i64 = 1000;

const TABLES: &str = "
create table attempts (
    id integer primary key,
    started integer not null,
    wall_ms integer not null,
    took_ms integer not null,
    cpu_ms integer,
    peak_memory integer,
    sent_bytes integer not null,
    output_bytes integer,
    machine text not null,
    outcome text not null,
    drv_path text not null,
    drv_name text not null,
    package text not null,
    system text not null,
    kind text not null,
    owner text
);
create index attempts_by_package on attempts (package, system);
create table requests (
    id integer primary key,
    root text not null,
    ended integer not null,
    nodes integer not null
);
create table request_nodes (
    request integer not null references requests (id) on delete cascade,
    position integer not null,
    drv_path text not null,
    machine text not null,
    speed real not null,
    wall_ms integer not null,
    output_bytes integer not null,
    fixed_output integer not null,
    deps text not null,
    primary key (request, position)
) without rowid;
";

/// Why the history cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// A newer Musher made it.
    #[error("it is of version {found}, which is newer than this program")]
    Newer {
        /// The version of its tables.
        found: i64,
    },
    /// SQLite says no.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// The open file.
pub(super) struct Database {
    connection: Connection,
    /// The attempts in it.
    count: i64,
    /// How many of them may be.
    most: i64,
}

impl Database {
    /// Opens the file to write into it, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // A power cut loses the last attempts, and breaks nothing.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "normal")?;
        // Of two that find no tables one makes them.
        let alone = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match version(&alone)? {
            0 => {
                alone.execute_batch(TABLES)?;
                alone.pragma_update(None, "user_version", VERSION)?;
            }
            VERSION => {}
            found => return Err(OpenError::Newer { found }),
        }
        alone.commit()?;
        Self::with(connection)
    }

    /// Opens the file to read from it, if it is there.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        match version(&connection)? {
            VERSION => Self::with(connection),
            found => Err(OpenError::Newer { found }),
        }
    }

    fn with(connection: Connection) -> Result<Self, OpenError> {
        let count = connection.query_row("select count(*) from attempts", [], |row| row.get(0))?;
        Ok(Self {
            connection,
            count,
            most: IN_ALL,
        })
    }

    /// Writes attempts down, and removes what is too old to be kept.
    pub(super) fn add_attempts(&mut self, attempts: &[PastAttempt]) -> rusqlite::Result<()> {
        let mut count = self.count;
        let transaction = self.connection.transaction()?;
        for attempt in attempts {
            add_attempt(&transaction, attempt)?;
            count += 1;
            let removed = transaction
                .prepare_cached(
                    "delete from attempts where package = ?1 and system = ?2 and id <= \
                     (select id from attempts where package = ?1 and system = ?2 \
                     order by id desc limit 1 offset ?3)",
                )?
                .execute(params![
                    package_name(plain_name(&attempt.drv)),
                    attempt.system,
                    OF_PACKAGE
                ])?;
            count -= i64::try_from(removed).unwrap_or(0);
        }
        if count > self.most + SLACK {
            let removed = transaction.execute(
                "delete from attempts where id in (select id from attempts order by id limit ?1)",
                [count - self.most],
            )?;
            count -= i64::try_from(removed).unwrap_or(0);
        }
        transaction.commit()?;
        self.count = count;
        Ok(())
    }

    /// Keeps no more than so many attempts.
    #[cfg(test)]
    pub(super) fn keep(&mut self, most: i64) {
        self.most = most;
    }

    /// Lets the file grow no more, or as much as it likes.
    #[cfg(test)]
    pub(super) fn limit(&self, is_full: bool) -> rusqlite::Result<()> {
        let pages: i64 = match is_full {
            true => (self.connection).pragma_query_value(None, "page_count", |row| row.get(0))?,
            false => 1 << 30,
        };
        (self.connection).pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    /// Hands out everything there is to learn from, the oldest first, so many at
    /// a time. Says how many attempts there are.
    pub(super) fn lessons(
        &self,
        many: usize,
        mut hand_out: impl FnMut(&[Observation]),
    ) -> rusqlite::Result<usize> {
        let sql = format!("select {} from attempts order by id", rows::COLUMNS);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut count, mut lessons) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            count += 1;
            lessons.extend(attempt(row)?.observation());
            if lessons.len() >= many {
                hand_out(&std::mem::take(&mut lessons));
            }
        }
        hand_out(&lessons);
        Ok(count)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn add_attempt(connection: &Connection, attempt: &PastAttempt) -> rusqlite::Result<()> {
    let name = plain_name(&attempt.drv);
    connection
        .prepare_cached(
            "insert into attempts (started, wall_ms, took_ms, cpu_ms, peak_memory, sent_bytes, \
             output_bytes, machine, outcome, drv_path, drv_name, package, system, kind) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            int(attempt.started),
            int(millis(attempt.wall)),
            int(millis(attempt.took)),
            attempt.cpu.map(|cpu| int(millis(cpu))),
            attempt.peak_memory.map(int),
            int(attempt.sent),
            attempt.output_bytes.map(int),
            attempt.machine.as_str(),
            attempt.outcome.as_str(),
            attempt.drv.to_basename(),
            name,
            package_name(name),
            attempt.system,
            kind_str(attempt.kind),
        ])?;
    Ok(())
}
