//! What can be asked of past attempts.

use musher_scheduler::package_name;
use rusqlite::{Connection, ToSql, params};

use super::Database;
use super::rows::{COLUMNS, attempt};
use crate::history::PastAttempt;

/// Which attempts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::history) enum Selection {
    /// Those of one derivation, by the base name of its path.
    Derivation(String),
    /// Those of a package, or of one version of it.
    Named(String),
}

impl Database {
    /// The newest attempts of a selection.
    pub(in crate::history) fn past(
        &self,
        selection: &Selection,
        most: u32,
    ) -> rusqlite::Result<Vec<PastAttempt>> {
        match selection {
            Selection::Derivation(drv) => select(
                &self.connection,
                // A package has few rows, and only these are indexed.
                "package = ?1 and drv_path = ?2 order by id desc limit ?3",
                params![package_of(drv), drv, most],
            ),
            Selection::Named(name) => select(
                &self.connection,
                "package = ?1 and ?2 in (package, drv_name) order by id desc limit ?3",
                params![package_name(name), name, most],
            ),
        }
    }

    /// The newest build of each package and system, the longest first.
    pub(in crate::history) fn longest(&self, most: u32) -> rusqlite::Result<Vec<PastAttempt>> {
        select(
            &self.connection,
            "id in (select max(id) from attempts where outcome = 'built' group by package, system) \
             order by wall_ms desc, id desc limit ?1",
            params![most],
        )
    }
}

fn select(
    connection: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<PastAttempt>> {
    let sql = format!("select {COLUMNS} from attempts where {which}");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params, attempt)?;
    found.collect()
}

/// The package of the derivation with this base name.
fn package_of(drv: &str) -> &str {
    // A digest of 32 characters, and a dash.
    let name = drv.get(33..).unwrap_or_default();
    package_name(name.strip_suffix(".drv").unwrap_or(name))
}
