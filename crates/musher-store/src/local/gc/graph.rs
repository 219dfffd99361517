//! Which paths something needs, and in which order the others go. Decides from
//! a picture of the database; knows no files and no clock.

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

/// What lives along with what is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Derivers of live paths.
    pub(super) derivations: bool,
    /// Outputs of live derivations.
    pub(super) outputs: bool,
}

/// A valid path.
#[derive(Debug, Clone)]
pub(in crate::local) struct Node {
    pub(in crate::local) path: StorePath,
    pub(in crate::local) nar_size: u64,
    /// In seconds since 1970.
    pub(in crate::local) last_use: i64,
    pub(in crate::local) deriver: Option<StorePath>,
}

/// The valid paths of a store and what they refer to.
#[derive(Debug, Default)]
pub(in crate::local) struct Graph {
    nodes: Vec<Node>,
    index: BTreeMap<StorePath, usize>,
    references: Vec<Vec<usize>>,
    referrers: Vec<Vec<usize>>,
    /// The outputs of derivations.
    outputs: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph of `nodes`, whose numbers are their places, without edges.
    pub(in crate::local) fn new(nodes: Vec<Node>) -> Self {
        let index = nodes.iter().enumerate();
        let index = index.map(|(at, node)| (node.path.clone(), at)).collect();
        let count = nodes.len();
        Self {
            nodes,
            index,
            references: vec![Vec::new(); count],
            referrers: vec![Vec::new(); count],
            outputs: vec![Vec::new(); count],
        }
    }

    /// Adds that one path refers to another.
    pub(in crate::local) fn refer(&mut self, referrer: usize, reference: usize) {
        if referrer != reference {
            self.references[referrer].push(reference);
            self.referrers[reference].push(referrer);
        }
    }

    /// Adds that a path is an output of a derivation.
    pub(in crate::local) fn output(&mut self, drv: usize, output: usize) {
        self.outputs[drv].push(output);
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn find(&self, path: &StorePath) -> Option<usize> {
        self.index.get(path).copied()
    }

    /// Whether there is a path of this base name.
    pub(super) fn has(&self, name: &str) -> bool {
        let path = StorePath::from_basename(name.as_bytes());
        path.is_ok_and(|path| self.index.contains_key(&path))
    }

    pub(super) fn path(&self, node: usize) -> &StorePath {
        &self.nodes[node].path
    }

    pub(super) fn nar_size(&self, node: usize) -> u64 {
        self.nodes[node].nar_size
    }

    pub(super) fn referrers(&self, node: usize) -> impl Iterator<Item = usize> {
        self.referrers[node].iter().copied()
    }

    pub(super) fn select(&self, chosen: &[bool]) -> BTreeSet<StorePath> {
        let nodes = self.nodes.iter().zip(chosen);
        let nodes = nodes.filter(|(_, chosen)| **chosen);
        nodes.map(|(node, _)| node.path.clone()).collect()
    }

    /// Which paths `roots` need.
    pub(super) fn live<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a StorePath>,
        keep: Keep,
    ) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        let roots = roots.into_iter().filter_map(|path| self.find(path));
        let mut reached: Vec<usize> = roots.collect();
        while let Some(node) = reached.pop() {
            if std::mem::replace(&mut live[node], true) {
                continue;
            }
            reached.extend(&self.references[node]);
            if keep.derivations {
                let deriver = self.nodes[node].deriver.as_ref();
                reached.extend(deriver.and_then(|deriver| self.find(deriver)));
            }
            if keep.outputs {
                reached.extend(&self.outputs[node]);
            }
        }
        live
    }

    /// What one path needs, itself among it.
    pub(super) fn closure(&self, node: usize) -> Vec<usize> {
        let keep = Keep {
            derivations: false,
            outputs: false,
        };
        let live = self.live([self.path(node)], keep);
        (0..self.len()).filter(|node| live[*node]).collect()
    }

    /// The paths that are not `kept`, in the order in which they go: what was
    /// not used for the longest first, and nothing before all that refers to it.
    pub(super) fn order(&self, kept: &[bool]) -> Vec<usize> {
        // A path is used whenever something is that refers to it, so no
        // referrer was used later than what it refers to. Referrers first:
        let mut waiting: Vec<usize> = self
            .referrers
            .iter()
            .map(|referrers| referrers.iter().filter(|node| !kept[**node]).count())
            .collect();
        let mut ready: Vec<usize> = (0..self.len())
            .filter(|node| !kept[*node] && waiting[*node] == 0)
            .collect();
        let mut used: Vec<i64> = self.nodes.iter().map(|node| node.last_use).collect();
        let mut order = Vec::new();
        while let Some(node) = ready.pop() {
            order.push(node);
            for reference in &self.references[node] {
                used[*reference] = used[*reference].max(used[node]);
                waiting[*reference] -= 1;
                if waiting[*reference] == 0 && !kept[*reference] {
                    ready.push(*reference);
                }
            }
        }
        // Stable: among equals referrers stay first.
        order.sort_by_key(|node| used[*node]);
        order
    }
}

#[cfg(test)]
mod tests {
    use nix_derivation::StorePath;

    use super::{Graph, Keep, Node};

    const KEEP: Keep = Keep {
        derivations: true,
        outputs: false,
    };

    fn path(name: &str) -> StorePath {
        StorePath::from_parts([7; 20], name).expect("a valid name")
    }

    /// Lines of `name last-use reference…`.
    fn graph(lines: &str) -> Graph {
        let rows: Vec<Vec<&str>> = lines
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|words: &Vec<&str>| !words.is_empty())
            .collect();
        let node = |words: &Vec<&str>| Node {
            path: path(words[0]),
            nar_size: 1,
            last_use: words[1].parse().expect("a number"),
            deriver: Some(path(&format!("{}.drv", words[0]))),
        };
        let mut graph = Graph::new(rows.iter().map(node).collect());
        for (at, words) in rows.iter().enumerate() {
            for reference in &words[2..] {
                let reference = graph.find(&path(reference)).expect("a known path");
                graph.refer(at, reference);
            }
        }
        graph
    }

    fn names(graph: &Graph, nodes: &[usize]) -> String {
        let names: Vec<&str> = nodes.iter().map(|node| graph.path(*node).name()).collect();
        names.join(" ")
    }

    fn check(lines: &str, roots: &[&str], expected: &str) {
        let graph = graph(lines);
        let roots: Vec<StorePath> = roots.iter().map(|name| path(name)).collect();
        let live = graph.live(&roots, KEEP);
        assert_eq!(names(&graph, &graph.order(&live)), expected);
    }

    #[test]
    fn what_was_not_used_for_long_goes_first() {
        check("a 3\nb 1\nc 2", &[], "b c a");
    }

    #[test]
    fn roots_keep_all_they_need() {
        check("app 1 lib\nlib 1 libc\nlibc 1\nold 9", &["app"], "old");
    }

    #[test]
    fn derivers_live_with_their_outputs() {
        check(
            "app 1\napp.drv 1 src\nsrc 1\nother.drv 1",
            &["app"],
            "other.drv",
        );
    }

    #[test]
    fn a_library_counts_as_used_with_its_users() {
        let lines = "libc 1\nlib 1 libc\nnew 9 lib\nold 2 libc\nlone 5";
        check(lines, &[], "old lone new lib libc");
    }

    #[test]
    fn users_go_before_what_they_use_even_if_the_clock_went_back() {
        check("lib 1\napp 1 lib", &[], "app lib");
    }
}
