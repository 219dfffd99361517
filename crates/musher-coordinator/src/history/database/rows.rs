//! From a row to what it says. A row that says nonsense is an error: then the
//! file is damaged.

use std::time::Duration;

use musher_scheduler::MachineId;
use nix_derivation::StorePath;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Row};

use crate::history::past::{PastAttempt, PastOutcome, parse_kind};

/// The columns that [`attempt`] reads, in its order.
pub(super) const COLUMNS: &str = "started, wall_ms, took_ms, cpu_ms, peak_memory, sent_bytes, \
     output_bytes, machine, outcome, drv_path, system, kind";

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<PastAttempt> {
    let text = |column| {
        row.get_ref(column)?
            .as_str()
            .map_err(|error| bad(column, error))
    };
    Ok(PastAttempt {
        started: number(row, 0)?,
        wall: Duration::from_millis(number(row, 1)?),
        took: Duration::from_millis(number(row, 2)?),
        cpu: optional(row, 3)?.map(Duration::from_millis),
        peak_memory: optional(row, 4)?,
        sent: number(row, 5)?,
        output_bytes: optional(row, 6)?,
        machine: MachineId::from(text(7)?),
        outcome: PastOutcome::parse(text(8)?).ok_or_else(|| bad(8, FromSqlError::InvalidType))?,
        drv: path(row, 9)?,
        system: text(10)?.to_owned(),
        kind: parse_kind(text(11)?).ok_or_else(|| bad(11, FromSqlError::InvalidType))?,
    })
}

/// The store path whose base name stands in a column.
pub(super) fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<StorePath> {
    let name = row.get_ref(column)?.as_str();
    let name = name.map_err(|error| bad(column, error))?;
    StorePath::from_basename(name.as_bytes()).map_err(|error| bad(column, error))
}

/// A number that is not below zero.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|error| bad(column, error))
}

/// A number as SQLite has it.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let number: Option<i64> = row.get(column)?;
    let number = number.map(u64::try_from).transpose();
    number.map_err(|error| bad(column, error))
}

pub(super) fn bad(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
