//! What was built for a request, and how long each took: a graph for the
//! history.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use musher_protocol::types::BuildStatus;
use musher_scheduler::MachineId;
use nix_derivation::{Derivation, Output, StorePath};

use super::summary::{Step, Summary};
use crate::build::{Ended, Times};
use crate::core::Power;
use crate::history::{GraphNode, RequestGraph, since_1970};

/// The builds of a request so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Each with what it needs.
    builds: BTreeMap<StorePath, (GraphNode, Vec<StorePath>)>,
    /// For which system each was built, and when.
    times: BTreeMap<StorePath, (String, Times)>,
}

impl Tally {
    /// A build ended well.
    pub(super) fn add(&mut self, drv: &StorePath, derivation: &Derivation, ended: &Ended) {
        let (BuildStatus::Built, Some(machine)) = (ended.result.status, &ended.machine) else {
            return;
        };
        let is_fixed = |output: &Output| matches!(output, Output::Fixed { .. });
        let node = GraphNode {
            drv: drv.clone(),
            machine: machine.clone(),
            speed: 1.0,
            wall: ended.wall(),
            output_bytes: ended.output_bytes(),
            is_fixed: derivation.outputs().values().any(is_fixed),
            deps: Vec::new(),
        };
        let needs = derivation.input_derivations().keys().cloned().collect();
        self.builds.insert(drv.clone(), (node, needs));
        if let Some(times) = ended.times {
            let system = derivation.system().to_owned();
            self.times.insert(drv.clone(), (system, times));
        }
    }

    /// Where the time went of a request that `began` then and is over now.
    pub(super) fn summary(
        &self,
        began: Instant,
        powers: &BTreeMap<MachineId, Power>,
    ) -> Option<Summary> {
        let steps = self.times.iter().filter_map(|(drv, (system, times))| {
            let (node, needs) = self.builds.get(drv)?;
            Some(Step {
                drv,
                machine: &node.machine,
                system,
                wall: node.wall,
                times: *times,
                needs,
            })
        });
        let steps: Vec<_> = steps.collect();
        Summary::of(began, Instant::now(), &steps, powers)
    }

    /// The graph of all of them, one of `roots` being its end; none of nothing.
    pub(super) fn graph<T>(&self, roots: &BTreeMap<StorePath, T>) -> Option<RequestGraph> {
        let built = roots.keys().find(|root| self.builds.contains_key(*root));
        let root = built.or_else(|| roots.keys().next())?.clone();
        let ended = since_1970(SystemTime::now());
        (!self.builds.is_empty()).then(|| RequestGraph::new(root, ended, &self.builds))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use musher_protocol::types::BuildStatus;
    use nix_derivation::Derivation;

    use super::Tally;
    use crate::build::Ended;
    use crate::testing::{derivation_text, info, path};

    #[test]
    fn only_what_was_built_counts() {
        let mut tally = Tally::default();
        let derivation = |name: &str, inputs: &[&str]| -> Derivation {
            let text = derivation_text(name, inputs);
            Derivation::from_aterm_bytes(text.as_bytes(), name).expect("a derivation")
        };
        let ended = |status, machine: Option<&str>| Ended {
            machine: machine.map(Into::into),
            took: Duration::from_secs(9),
            ran: Some(Duration::from_secs(7)),
            outputs: BTreeMap::from([("out".to_owned(), info("lib", &[]))]),
            ..Ended::nowhere(status, "")
        };
        let roots = BTreeMap::from([(path("app.drv"), ()), (path("zoo.drv"), ())]);
        assert_eq!(tally.graph(&roots), None);
        let built = ended(BuildStatus::Built, Some("b1"));
        tally.add(
            &path("zoo.drv"),
            &derivation("zoo", &["lib", "old"]),
            &built,
        );
        tally.add(&path("lib.drv"), &derivation("lib", &[]), &built);
        let there = ended(BuildStatus::AlreadyValid, Some("b1"));
        tally.add(&path("old.drv"), &derivation("old", &[]), &there);
        let graph = tally.graph(&roots).expect("something was built");
        assert_eq!(graph.root, path("zoo.drv"));
        let nodes: Vec<_> = (graph.nodes.iter())
            .map(|node| (node.drv.name(), node.wall.as_secs(), node.deps.as_slice()))
            .collect();
        assert_eq!(nodes, [("lib.drv", 7, &[][..]), ("zoo.drv", 7, &[0][..])]);
    }
}
