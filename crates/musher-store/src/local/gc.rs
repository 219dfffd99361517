//! Collects garbage: paths that no root needs, those first that were not used
//! for the longest, until enough is free. Keeps out of the way of those who add
//! paths meanwhile as Nix does, so that either may collect while the other
//! works.

mod budget;
mod graph;
mod roots;
mod running;
mod server;
mod strays;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use nix_derivation::StorePath;

use self::graph::Keep;
use self::server::RootServer;
use self::sweep::Sweep;
use super::flock::{Hold, Lock};
use super::{LocalError, LocalStore};

pub(super) use self::graph::{Graph, Node};
pub(super) use self::server::connect;
pub use budget::Budget;
pub use roots::Root;

/// Where the kernel tells of running programs.
const PROC: &str = "/proc";

/// What to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Garbage {
    /// Everything that no root needs.
    All,
    /// What no root needs, until this many bytes are free that were not.
    Bytes(u64),
    /// What no root needs, until the store is within its budget.
    Over(Budget),
    /// These paths; an error if a root or another path needs one of them.
    These(BTreeSet<StorePath>),
    /// These paths, even if roots need them; an error if another path does.
    TheseEvenIfLive(BTreeSet<StorePath>),
}

/// How to collect garbage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcOptions {
    /// What.
    pub garbage: Garbage,
    /// Whether nothing is deleted, only found.
    pub dry_run: bool,
    /// Whether derivations of live outputs live (Nix's `keep-derivations`).
    pub keep_derivations: bool,
    /// Whether outputs of live derivations live (Nix's `keep-outputs`).
    pub keep_outputs: bool,
}

impl GcOptions {
    /// Collects `garbage`, and keeps what Nix does by default.
    pub fn new(garbage: Garbage) -> Self {
        Self {
            garbage,
            dry_run: false,
            keep_derivations: true,
            keep_outputs: false,
        }
    }
}

/// What was collected, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// The paths deleted, in that order; in a dry run all that could be.
    pub paths: Vec<StorePath>,
    /// Bytes on disk that deleting freed; in a dry run the size of the NARs.
    pub freed: u64,
    /// The paths that something needs.
    pub live: BTreeSet<StorePath>,
    /// Things in the store directory that were no valid paths, and are gone.
    pub strays: u64,
}

impl LocalStore {
    /// Everything outside of the store that keeps a path: links below `gcroots`
    /// and `profiles`, paths in use, and what running programs use, of those that
    /// this user may look at.
    pub fn find_roots(&self) -> Result<Vec<Root>, LocalError> {
        let mut roots = roots::permanent(&self.layout, false)?;
        roots.extend(roots::temporary(&self.layout, false)?);
        roots.extend(running::running(&self.layout, Path::new(PROC)));
        let session = self.database.session()?;
        let mut valid = Vec::with_capacity(roots.len());
        for root in roots {
            if session.path_id(&root.path)?.is_some() {
                valid.push(root);
            }
        }
        Ok(valid)
    }

    /// The bytes that valid paths take as NARs, which is about what they take on
    /// disk.
    pub fn size(&self) -> Result<u64, LocalError> {
        self.database.session()?.total_size()
    }

    /// Whether the store is over its budget, so that collecting is worth while.
    pub fn is_over(&self, budget: &Budget) -> Result<bool, LocalError> {
        let excess = budget.excess(self.size()?, budget::free(&self.layout)?);
        Ok(excess.is_some())
    }

    /// Notes that `paths` are used now, so that they are collected late. Those
    /// in [`TempRoots`](super::TempRoots) are noted without this.
    pub fn note_use<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) {
        self.last_use.note(paths);
    }

    /// Collects garbage. `progress` hears how many bytes are free that were not.
    pub fn collect_garbage(
        &self,
        options: &GcOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<GcReport, LocalError> {
        self.writable("collect garbage")?;
        if let Garbage::Over(budget) = &options.garbage
            && !self.is_over(budget)?
        {
            return Ok(GcReport::default());
        }
        if !options.dry_run {
            // Nix keeps some space for this moment: a database cannot be
            // changed on a full disk.
            let _ = fs::remove_file(self.layout.reserved());
        }
        self.in_use.tidy();
        let _no_new_roots = Lock::wait(&self.layout.gc_lock(), Hold::Exclusive)?;
        let server = RootServer::start(&self.layout)?;
        let started = Instant::now();

        let mut roots = roots::permanent(&self.layout, !options.dry_run)?;
        let in_use = roots::temporary(&self.layout, !options.dry_run)?;
        server.add(in_use.iter().map(|root| &root.path));
        roots.extend(in_use);
        roots.extend(running::running(&self.layout, Path::new(PROC)));

        let last_use = self.last_use.all();
        let graph = self.database.session()?.graph(&last_use)?;
        let keep = Keep {
            derivations: options.keep_derivations,
            outputs: options.keep_outputs,
        };
        let live = graph.live(roots.iter().map(|root| &root.path), keep);
        let order = self.choose(&graph, &live, &options.garbage)?;
        let mut report = GcReport {
            live: graph.select(&live),
            ..GcReport::default()
        };
        if options.dry_run {
            report.freed = order.iter().map(|node| graph.nar_size(*node)).sum();
            report.paths = order.iter().map(|node| graph.path(*node).clone()).collect();
            return Ok(report);
        }
        let sweep = Sweep {
            store: self,
            graph: &graph,
            server: &server,
        };
        let mut goal = self.goal(&options.garbage)?;
        if !matches!(
            options.garbage,
            Garbage::These(_) | Garbage::TheseEvenIfLive(_)
        ) {
            strays::delete(&sweep, &mut goal, &mut report, progress)?;
        }
        sweep.paths(&order, &mut goal, &mut report, progress)?;
        report.freed += strays::delete_links(&self.layout)?;
        let mut gone: Vec<String> = report.paths.iter().map(StorePath::to_basename).collect();
        gone.extend(last_use.into_keys().filter(|name| !graph.has(name)));
        self.last_use.forget(&gone);
        tracing::info!(
            paths = report.paths.len(),
            freed = report.freed,
            elapsed = ?started.elapsed(),
            "collected garbage"
        );
        Ok(report)
    }

    /// Which paths may go, in the order in which they do.
    fn choose(
        &self,
        graph: &Graph,
        live: &[bool],
        garbage: &Garbage,
    ) -> Result<Vec<usize>, LocalError> {
        let (chosen, may_live) = match garbage {
            Garbage::All | Garbage::Bytes(_) | Garbage::Over(_) => return Ok(graph.order(live)),
            Garbage::These(paths) => (paths, false),
            Garbage::TheseEvenIfLive(paths) => (paths, true),
        };
        let chosen: BTreeMap<usize, &StorePath> = chosen
            .iter()
            .filter_map(|path| Some((graph.find(path)?, path)))
            .collect();
        for (node, path) in &chosen {
            let user = graph
                .referrers(*node)
                .find(|user| !chosen.contains_key(user));
            let by = match user {
                Some(user) => format!("`{}`", self.layout.render(graph.path(user))),
                None if live[*node] && !may_live => "a root".to_owned(),
                None => continue,
            };
            let path = self.layout.render(path);
            return Err(LocalError::InUse { path, by });
        }
        let kept: Vec<bool> = (0..graph.len())
            .map(|node| !chosen.contains_key(&node))
            .collect();
        Ok(graph.order(&kept))
    }

    fn goal(&self, garbage: &Garbage) -> Result<Goal, LocalError> {
        Ok(match garbage {
            Garbage::All | Garbage::These(_) | Garbage::TheseEvenIfLive(_) => Goal::Everything,
            Garbage::Bytes(bytes) => Goal::Freed(*bytes),
            Garbage::Over(budget) => {
                let excess = budget.excess(self.size()?, budget::free(&self.layout)?);
                Goal::Freed(excess.unwrap_or(0))
            }
        })
    }
}

/// When to stop.
enum Goal {
    /// When nothing is left.
    Everything,
    /// When this many bytes more are free.
    Freed(u64),
}

impl Goal {
    /// Whether enough has been freed.
    fn is_reached(&self) -> bool {
        matches!(self, Self::Freed(0))
    }

    /// Counts bytes that have been freed.
    fn count(&mut self, bytes: u64) {
        match self {
            Self::Everything => {}
            Self::Freed(left) => *left = left.saturating_sub(bytes),
        }
    }
}
