//! What a collector asks of the database, and deletes from it.

use std::collections::BTreeMap;

use nix_derivation::StorePath;
use rusqlite::ErrorCode;

use super::{LocalError, Session};
use crate::local::gc::{Graph, Node};

impl Session<'_> {
    /// The length of all paths' NARs together.
    pub(in crate::local) fn total_size(&self) -> Result<u64, LocalError> {
        let sum = self.query_row(
            "select coalesce(sum(narSize), 0) from ValidPaths",
            [],
            |row| row.get::<_, i64>(0),
        );
        let sum = sum.map_err(self.failed("add up the sizes"))?;
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    /// All valid paths and what they refer to. A path whose name is not in
    /// `last_use` was used when it was registered.
    pub(in crate::local) fn graph(
        &self,
        last_use: &BTreeMap<String, i64>,
    ) -> Result<Graph, LocalError> {
        self.consistent(|| {
            let mut at = BTreeMap::new();
            let mut nodes = Vec::new();
            for row in self.graph_rows()? {
                let path = self.parse_path("path", "ValidPaths", &row.path)?;
                let used = last_use.get(&path.to_basename()).copied();
                at.insert(row.id, nodes.len());
                nodes.push(Node {
                    path,
                    nar_size: u64::try_from(row.nar_size).unwrap_or(0),
                    last_use: used.unwrap_or(0).max(row.registered),
                    deriver: row
                        .deriver
                        .and_then(|deriver| self.parse_path("deriver", "", &deriver).ok()),
                });
            }
            let mut graph = Graph::new(nodes);
            for (referrer, reference) in self.pairs("select referrer, reference from Refs")? {
                if let (Some(referrer), Some(reference)) = (at.get(&referrer), at.get(&reference)) {
                    graph.refer(*referrer, *reference);
                }
            }
            let outputs = "select d.drv, v.id from DerivationOutputs d \
                           join ValidPaths v on v.path = d.path";
            for (drv, output) in self.pairs(outputs)? {
                if let (Some(drv), Some(output)) = (at.get(&drv), at.get(&output)) {
                    graph.output(*drv, *output);
                }
            }
            Ok(graph)
        })
    }

    fn graph_rows(&self) -> Result<Vec<GraphRow>, LocalError> {
        let select = || -> rusqlite::Result<Vec<GraphRow>> {
            self.prepare(
                "select id, path, coalesce(narSize, 0), registrationTime, deriver from ValidPaths",
            )?
            .query_map([], |row| {
                Ok(GraphRow {
                    id: row.get(0)?,
                    path: row.get(1)?,
                    nar_size: row.get(2)?,
                    registered: row.get(3)?,
                    deriver: row.get(4)?,
                })
            })?
            .collect()
        };
        select().map_err(self.failed("read all paths"))
    }

    fn pairs(&self, query: &str) -> Result<Vec<(i64, i64)>, LocalError> {
        let select = || -> rusqlite::Result<Vec<(i64, i64)>> {
            self.prepare(query)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        select().map_err(self.failed("read what paths refer to"))
    }

    /// Makes `paths` invalid, but for those that another path has come to refer
    /// to. Returns those that are not valid any more.
    pub(in crate::local) fn invalidate(
        &self,
        paths: &[&StorePath],
    ) -> Result<Vec<StorePath>, LocalError> {
        self.atomically(|| {
            let mut gone = Vec::with_capacity(paths.len());
            for path in paths {
                let delete = || {
                    self.prepare_cached("delete from ValidPaths where path = ?1")?
                        .execute([self.render(path)])
                };
                match delete() {
                    Ok(_) => gone.push((*path).clone()),
                    // The statement alone is undone.
                    Err(error)
                        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
                    Err(error) => return Err(self.failed("delete a path")(error)),
                }
            }
            Ok(gone)
        })
    }
}

struct GraphRow {
    id: i64,
    path: String,
    nar_size: i64,
    registered: i64,
    deriver: Option<String>,
}
