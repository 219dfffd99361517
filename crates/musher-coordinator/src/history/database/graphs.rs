//! The graphs of requests.

use std::time::Duration;

use musher_scheduler::MachineId;
use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension as _, Row, params};

use super::Database;
use super::rows::{bad, int, number, path};
use crate::history::past::millis;
use crate::history::{GraphNode, RequestGraph};

/// Requests kept.
const REQUESTS: i64 = 50;
/// Builds kept of all requests together; of a request with more nothing is.
const NODES: usize = 100_000;

/// A request in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::history) struct PastRequest {
    /// Its number.
    pub(in crate::history) id: u64,
    /// The first derivation that was asked for, by the base name of its path.
    pub(in crate::history) root: String,
    /// When it ended, in milliseconds since 1970.
    pub(in crate::history) ended: u64,
    /// How many builds were made for it.
    pub(in crate::history) builds: u64,
}

impl Database {
    /// Writes a graph down, and removes what is too old to be kept.
    pub(in crate::history) fn add_graph(&mut self, graph: &RequestGraph) -> rusqlite::Result<()> {
        if graph.nodes.is_empty() || graph.nodes.len() > NODES {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "insert into requests (root, ended, nodes) values (?1, ?2, ?3)",
            params![
                graph.root.to_basename(),
                int(graph.ended),
                int(graph.nodes.len() as u64)
            ],
        )?;
        let request = transaction.last_insert_rowid();
        let mut insert = transaction.prepare_cached(
            "insert into request_nodes values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for (position, node) in (0_i64..).zip(&graph.nodes) {
            let deps: Vec<_> = node.deps.iter().map(ToString::to_string).collect();
            insert.execute(params![
                request,
                position,
                node.drv.to_basename(),
                node.machine.as_str(),
                node.speed,
                int(millis(node.wall)),
                int(node.output_bytes),
                node.is_fixed,
                deps.join(" "),
            ])?;
        }
        drop(insert);
        transaction.execute(
            "delete from requests where id in (select id from \
             (select id, sum(nodes) over (order by id desc) as up_to_here, \
             row_number() over (order by id desc) as place from requests) \
             where up_to_here > ?1 or place > ?2)",
            params![int(NODES as u64), REQUESTS],
        )?;
        transaction.commit()
    }

    /// The requests whose graphs are kept, the newest first.
    pub(in crate::history) fn requests(&self) -> rusqlite::Result<Vec<PastRequest>> {
        let mut statement = self
            .connection
            .prepare_cached("select id, root, ended, nodes from requests order by id desc")?;
        let found = statement.query_map([], |row| {
            Ok(PastRequest {
                id: number(row, 0)?,
                root: row.get(1)?,
                ended: number(row, 2)?,
                builds: number(row, 3)?,
            })
        })?;
        found.collect()
    }

    /// The graph of a request, or of the newest.
    pub(in crate::history) fn graph(
        &self,
        request: Option<u64>,
    ) -> rusqlite::Result<Option<RequestGraph>> {
        let request = request.map(int);
        let found = self.connection.query_row(
            "select id, root, ended from requests where ?1 is null or id = ?1 \
             order by id desc limit 1",
            [request],
            |row| Ok((row.get::<_, i64>(0)?, path(row, 1)?, number(row, 2)?)),
        );
        let Some((id, root, ended)) = found.optional()? else {
            return Ok(None);
        };
        let mut statement = self.connection.prepare_cached(
            "select drv_path, machine, speed, wall_ms, output_bytes, fixed_output, deps \
             from request_nodes where request = ?1 order by position",
        )?;
        let nodes = statement.query_map([id], node)?;
        let nodes = nodes.collect::<rusqlite::Result<_>>()?;
        Ok(Some(RequestGraph { root, ended, nodes }))
    }
}

fn node(row: &Row<'_>) -> rusqlite::Result<GraphNode> {
    let deps: String = row.get(6)?;
    let deps = deps.split_whitespace().map(str::parse);
    let machine: String = row.get(1)?;
    let speed: f64 = row.get(2)?;
    if !speed.is_finite() {
        return Err(bad(2, FromSqlError::InvalidType));
    }
    Ok(GraphNode {
        drv: path(row, 0)?,
        machine: MachineId::from(machine),
        speed,
        wall: Duration::from_millis(number(row, 3)?),
        output_bytes: number(row, 4)?,
        is_fixed: row.get(5)?,
        deps: deps
            .collect::<Result<_, _>>()
            .map_err(|error| bad(6, error))?,
    })
}
