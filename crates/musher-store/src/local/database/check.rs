//! Whether the database is sound.

use std::collections::BTreeSet;

use nix_derivation::StorePath;

use super::{LocalError, Session};

/// Faults that are listed, at most.
const FAULTS: usize = 100;

impl Session<'_> {
    /// What SQLite finds wrong with the database's file.
    pub(in crate::local) fn faults(&self) -> Result<Vec<String>, LocalError> {
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut faults: Vec<String> = self
                .prepare(&format!("pragma integrity_check({FAULTS})"))?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            faults.retain(|fault| fault != "ok");
            let dangling: i64 = self.query_row(
                "select count(*) from Refs where referrer not in (select id from ValidPaths) \
                 or reference not in (select id from ValidPaths)",
                [],
                |row| row.get(0),
            )?;
            if dangling > 0 {
                faults.push(format!(
                    "{dangling} references of or to paths that are not valid"
                ));
            }
            Ok(faults)
        };
        check().map_err(self.failed("check the tables"))
    }

    /// The valid paths, and an error for each whose name is none.
    pub(in crate::local) fn readable_paths(
        &self,
    ) -> Result<(BTreeSet<StorePath>, Vec<LocalError>), LocalError> {
        let select = || -> rusqlite::Result<Vec<String>> {
            self.prepare("select path from ValidPaths")?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        let mut paths = BTreeSet::new();
        let mut bad = Vec::new();
        for text in select().map_err(self.failed("read all paths"))? {
            match self.parse_path("path", "ValidPaths", &text) {
                Ok(path) => {
                    paths.insert(path);
                }
                Err(error) => bad.push(error),
            }
        }
        Ok((paths, bad))
    }
}
