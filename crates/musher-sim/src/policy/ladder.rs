//! Simple orders of builds: for each the rung it stands on, the lowest first.

use std::cmp::Reverse;

use crate::graph::{Graph, Node};

/// Each where it comes.
pub(super) fn as_they_come(graphs: &[&Graph]) -> Vec<usize> {
    let nodes: usize = graphs.iter().map(|graph| graph.nodes().len()).sum();
    (0..nodes).collect()
}

/// By the alphabet.
pub(super) fn by_name(graphs: &[&Graph]) -> Vec<usize> {
    let nodes = graphs.iter().flat_map(|graph| graph.nodes());
    rungs(nodes.map(|node: &Node| node.name.as_str()).collect())
}

/// Those first that the most others need, directly or not.
pub(super) fn by_dependents(graphs: &[&Graph]) -> Vec<usize> {
    let counts = graphs.iter().flat_map(|graph| dependents(graph));
    rungs(counts.map(Reverse).collect())
}

/// Those first that begin the longest chains, whatever its builds take.
pub(super) fn by_depth(graphs: &[&Graph]) -> Vec<usize> {
    let depths = graphs.iter().flat_map(|graph| {
        let dependents = graph.dependents();
        let mut depths = vec![1_usize; dependents.len()];
        for (at, after) in dependents.iter().enumerate().rev() {
            depths[at] += after.iter().map(|at| depths[*at]).max().unwrap_or(0);
        }
        depths
    });
    rungs(depths.map(Reverse).collect())
}

/// How many need each node, directly or not. Counts for 64 of them at a time,
/// so that it takes no more room than the graph.
fn dependents(graph: &Graph) -> Vec<u32> {
    let nodes = graph.nodes();
    let mut counts = vec![0; nodes.len()];
    for first in (0..nodes.len()).step_by(64) {
        // Bit k of a node: whether the node `first + k` needs it, or is it.
        let mut needed_by = vec![0_u64; nodes.len()];
        for (at, node) in nodes.iter().enumerate().rev() {
            if (first..first + 64).contains(&at) {
                needed_by[at] |= 1 << (at - first);
            }
            for dep in &node.deps {
                needed_by[*dep] |= needed_by[at];
            }
        }
        for (count, bits) in counts.iter_mut().zip(needed_by) {
            *count += bits.count_ones();
        }
    }
    // Each was counted once for itself.
    counts.into_iter().map(|count| count - 1).collect()
}

/// The rung of each of these, equals as they come.
fn rungs<K: Ord>(keys: Vec<K>) -> Vec<usize> {
    let mut sorted: Vec<(K, usize)> = keys.into_iter().zip(0..).collect();
    sorted.sort();
    let mut rungs = vec![0; sorted.len()];
    for (rung, (_, at)) in sorted.into_iter().enumerate() {
        rungs[at] = rung;
    }
    rungs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &[usize])]) -> Graph {
        let nodes = (nodes.iter())
            .map(|(name, deps)| Node {
                name: (*name).to_owned(),
                seconds: 1.0,
                output_bytes: 0,
                deps: deps.to_vec(),
            })
            .collect();
        Graph::new("root".to_owned(), nodes).unwrap()
    }

    #[test]
    fn orders_are_over_all_graphs() {
        let one = graph(&[("d", &[]), ("a", &[0]), ("b", &[0])]);
        let other = graph(&[("c", &[]), ("e", &[0]), ("f", &[1])]);
        let graphs = [&one, &other];
        assert_eq!(by_name(&graphs), [3, 0, 1, 2, 4, 5]);
        assert_eq!(by_dependents(&graphs), [0, 3, 4, 1, 2, 5]);
        assert_eq!(by_depth(&graphs), [1, 3, 4, 0, 2, 5]);
    }

    #[test]
    fn dependents_are_counted_once_however_they_are_reached() {
        let diamond = graph(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[1, 2])]);
        assert_eq!(dependents(&diamond), [3, 1, 1, 0]);
        let chain: Vec<Vec<usize>> = (0..150)
            .map(|at: usize| at.checked_sub(1).into_iter().collect())
            .collect();
        let chain: Vec<(&str, &[usize])> = chain.iter().map(|d| ("x", d.as_slice())).collect();
        let counts = dependents(&graph(&chain));
        assert_eq!(counts, (0..150).rev().collect::<Vec<u32>>());
    }
}
