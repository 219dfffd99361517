//! The graph of a request that ended, with how long each of its builds took.

use std::collections::BTreeMap;
use std::time::Duration;

use musher_scheduler::MachineId;
use nix_derivation::StorePath;
use serde_json::json;

/// A request that ended, and what was built for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestGraph {
    /// The first derivation that was asked for.
    pub(crate) root: StorePath,
    /// When it ended, in milliseconds since 1970.
    pub(crate) ended: u64,
    /// What was built, each after what it needs.
    pub(crate) nodes: Vec<GraphNode>,
}

/// One build of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GraphNode {
    /// The derivation.
    pub(crate) drv: StorePath,
    /// Where it was built.
    pub(crate) machine: MachineId,
    /// How fast that machine was thought to be.
    pub(crate) speed: f64,
    /// How long the build program ran there.
    pub(crate) wall: Duration,
    /// NAR bytes of its outputs.
    pub(crate) output_bytes: u64,
    /// Whether its result was known beforehand.
    pub(crate) is_fixed: bool,
    /// Where in the list those are that it needs.
    pub(crate) deps: Vec<usize>,
}

impl RequestGraph {
    /// The graph of `builds`, each with the derivations that it needs; of these
    /// only those count that were built too. Machines' speeds are filled in by
    /// who keeps it.
    pub(crate) fn new(
        root: StorePath,
        ended: u64,
        builds: &BTreeMap<StorePath, (GraphNode, Vec<StorePath>)>,
    ) -> Self {
        let mut graph = Self {
            root,
            ended,
            nodes: Vec::with_capacity(builds.len()),
        };
        let mut places: BTreeMap<&StorePath, Option<usize>> = BTreeMap::new();
        // Depth first, without recursion: a chain may be long.
        for first in builds.keys() {
            let mut open = vec![(first, false)];
            while let Some((drv, is_below_done)) = open.pop() {
                let Some((drv, (node, needs))) = builds.get_key_value(drv) else {
                    continue;
                };
                if is_below_done {
                    let deps = needs.iter().filter_map(|need| *places.get(need)?);
                    let mut node = node.clone();
                    node.deps = deps.collect();
                    places.insert(drv, Some(graph.nodes.len()));
                    graph.nodes.push(node);
                } else if !places.contains_key(drv) {
                    places.insert(drv, None);
                    open.push((drv, true));
                    open.extend(needs.iter().map(|need| (need, false)));
                }
            }
        }
        graph
    }

    /// As graphs are exchanged: times are of a machine of speed 1.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let nodes = self.nodes.iter().map(|node| {
            // To a millisecond, as it was measured.
            let seconds = (node.wall.as_secs_f64() * node.speed * 1000.0).round() / 1000.0;
            json!({
                "name": super::past::plain_name(&node.drv),
                "seconds": seconds,
                "output_bytes": node.output_bytes,
                "fixed_output": node.is_fixed,
                "deps": node.deps,
            })
        });
        json!({
            "root": super::past::plain_name(&self.root),
            "nodes": nodes.collect::<Vec<_>>(),
        })
    }
}
