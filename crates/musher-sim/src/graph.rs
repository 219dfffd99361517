//! Graphs of builds with the time each takes, and how they are read. Knows
//! nothing of machines.

use serde::Deserialize;
use serde_json::Value;

/// What one request builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// What it is for.
    pub root: String,
    /// Each after all that it depends on.
    nodes: Vec<Node>,
}

/// One derivation to build.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Node {
    /// The derivation's name.
    pub name: String,
    /// How long it takes on a machine of speed factor 1.
    pub seconds: f64,
    /// The size of its outputs as NARs.
    #[serde(default)]
    pub output_bytes: u64,
    /// What it needs built before it: indexes of nodes before it.
    #[serde(default)]
    pub deps: Vec<usize>,
}

/// What is wrong with a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// It is not even a list of nodes.
    #[error("this is no graph: an object with `nodes`, a list, is expected")]
    Form {
        /// What the reader of JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// It has nothing to build.
    #[error("the graph has no nodes")]
    Empty,
    /// A node lacks something, or has it in another form.
    #[error("node {index} cannot be read")]
    Node {
        /// Which, counted from 0.
        index: usize,
        /// What the reader of JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// A node takes no time that there is.
    #[error("node {index} (`{name}`) takes {seconds} seconds; a number from 0 up is expected")]
    Seconds {
        /// Which, counted from 0.
        index: usize,
        /// Its name.
        name: String,
        /// What it says.
        seconds: f64,
    },
    /// A node depends on what does not come before it.
    #[error(
        "node {index} (`{name}`) depends on node {dependency}; only nodes before it are expected"
    )]
    Order {
        /// Which, counted from 0.
        index: usize,
        /// Its name.
        name: String,
        /// What it names.
        dependency: usize,
    },
}

#[derive(Deserialize)]
struct Form {
    root: Option<String>,
    nodes: Vec<Value>,
}

impl Graph {
    /// A graph for `root`, if every node comes after all that it depends on.
    pub fn new(root: String, mut nodes: Vec<Node>) -> Result<Self, GraphError> {
        for (index, node) in nodes.iter_mut().enumerate() {
            check(index, node)?;
            node.deps.sort_unstable();
            node.deps.dedup();
        }
        if nodes.is_empty() {
            return Err(GraphError::Empty);
        }
        Ok(Self { root, nodes })
    }

    /// Reads a graph:
    /// `{"root", "nodes": [{"name", "seconds", "output_bytes", "deps": [index]}]}`.
    /// Without `root` it is for the last node. Other fields are passed over.
    pub fn parse(json: &str) -> Result<Self, GraphError> {
        let form: Form =
            serde_json::from_str(json).map_err(|source| GraphError::Form { source })?;
        let nodes = (form.nodes.into_iter().enumerate())
            .map(|(index, value)| {
                serde_json::from_value(value).map_err(|source| GraphError::Node { index, source })
            })
            .collect::<Result<Vec<Node>, _>>()?;
        let last = nodes.last().map(|node| node.name.clone());
        Self::new(form.root.or(last).unwrap_or_default(), nodes)
    }

    /// The nodes, each after all that it depends on.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The seconds of all nodes together.
    pub fn work(&self) -> f64 {
        self.nodes.iter().map(|node| node.seconds).sum()
    }

    /// The seconds of the longest chain of nodes that need one another.
    pub fn critical_path(&self) -> f64 {
        let mut ends: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let start = (node.deps.iter()).map(|dep| ends[*dep]).fold(0.0, f64::max);
            ends.push(start + node.seconds);
        }
        ends.into_iter().fold(0.0, f64::max)
    }

    /// For each node, those that depend on it directly.
    pub(crate) fn dependents(&self) -> Vec<Vec<usize>> {
        let mut dependents = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for dep in &node.deps {
                dependents[*dep].push(index);
            }
        }
        dependents
    }
}

fn check(index: usize, node: &Node) -> Result<(), GraphError> {
    let name = || node.name.clone();
    let Node { seconds, deps, .. } = node;
    if !seconds.is_finite() || *seconds < 0.0 {
        return Err(GraphError::Seconds {
            index,
            name: name(),
            seconds: *seconds,
        });
    }
    match deps.iter().find(|dep| **dep >= index) {
        None => Ok(()),
        Some(&dependency) => Err(GraphError::Order {
            index,
            name: name(),
            dependency,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// What is said of a graph with these nodes, causes included.
    fn said(nodes: &str) -> String {
        let error = Graph::parse(&format!("{{\"nodes\": {nodes}}}")).unwrap_err();
        match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }

    #[test]
    fn work_and_critical_path_are_those_of_the_nodes() {
        let graph = Graph::parse(
            r#"{"root": "app", "nodes": [
                {"name": "a", "seconds": 3, "output_bytes": 7, "fixed_output": true, "deps": []},
                {"name": "b", "seconds": 1.5, "deps": []},
                {"name": "app", "seconds": 1, "deps": [0, 1, 0]}
            ]}"#,
        )
        .unwrap();
        assert_eq!(graph.root, "app");
        assert_eq!(graph.work(), 5.5);
        assert_eq!(graph.critical_path(), 4.0);
        assert_eq!(graph.nodes()[2].deps, [0, 1]);
        assert_eq!(graph.dependents(), [vec![2], vec![2], vec![]]);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_nodes_index() {
        assert_eq!(said("[]"), "the graph has no nodes");
        assert_eq!(
            said(r#"[{"name": "a", "seconds": 1}, {"name": "b"}]"#),
            "node 1 cannot be read: missing field `seconds`"
        );
        assert_eq!(
            said(r#"[{"name": "a", "seconds": -1}]"#),
            "node 0 (`a`) takes -1 seconds; a number from 0 up is expected"
        );
        assert_eq!(
            said(r#"[{"name": "a", "seconds": 1, "deps": [0]}]"#),
            "node 0 (`a`) depends on node 0; only nodes before it are expected"
        );
        assert!(said("7").starts_with("this is no graph"));
    }
}
