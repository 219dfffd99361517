//! Deletes paths: first from the database, then from the disk, so that a kill
//! in between leaves garbage and no path without its files.

use nix_derivation::StorePath;

use super::super::delete::delete;
use super::super::{LocalError, LocalStore};
use super::graph::Graph;
use super::server::RootServer;
use super::{GcReport, Goal};

/// Paths deleted from the database in one transaction.
const BATCH: usize = 64;

/// What is needed to delete.
pub(super) struct Sweep<'a> {
    pub(super) store: &'a LocalStore,
    pub(super) graph: &'a Graph,
    pub(super) server: &'a RootServer,
}

impl Sweep<'_> {
    /// Deletes the paths of `order`, in that order, until `goal` is reached.
    pub(super) fn paths(
        &self,
        order: &[usize],
        goal: &mut Goal,
        report: &mut GcReport,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), LocalError> {
        let mut kept = vec![false; self.graph.len()];
        let mut rest = order.iter().copied();
        while !goal.is_reached() {
            let batch = self.batch(&mut rest, goal, &mut kept);
            if batch.is_empty() {
                return Ok(());
            }
            let deleted = self.delete(&batch, goal, report, progress);
            for node in &batch {
                self.server.end(self.graph.path(*node).digest());
            }
            deleted?;
        }
        Ok(())
    }

    /// The next paths to go. Nobody can begin to use them from now on.
    fn batch(
        &self,
        rest: &mut impl Iterator<Item = usize>,
        goal: &Goal,
        kept: &mut [bool],
    ) -> Vec<usize> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut bytes = 0;
        for node in rest.by_ref() {
            if kept[node] {
                continue;
            }
            if !self.server.begin(self.graph.path(node).digest()) {
                // Somebody has begun to use it. What it needs comes later in
                // the order.
                for needed in self.graph.closure(node) {
                    kept[needed] = true;
                }
                continue;
            }
            batch.push(node);
            bytes += self.graph.nar_size(node);
            let enough = matches!(goal, Goal::Freed(wanted) if bytes >= *wanted);
            if batch.len() == BATCH || enough {
                break;
            }
        }
        batch
    }

    fn delete(
        &self,
        batch: &[usize],
        goal: &mut Goal,
        report: &mut GcReport,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), LocalError> {
        let paths: Vec<&StorePath> = batch.iter().map(|node| self.graph.path(*node)).collect();
        let gone = self.store.database.session()?.invalidate(&paths)?;
        for path in gone {
            let freed = delete(&self.store.layout.real_path(&path))?;
            self.server.end(path.digest());
            goal.count(freed);
            report.freed += freed;
            report.paths.push(path);
            progress(report.freed);
        }
        Ok(())
    }
}
