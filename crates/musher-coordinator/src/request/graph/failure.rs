//! Failures: of a derivation, and of all that waits for it.

use nix_derivation::StorePath;

use super::node::State;
use super::{Action, Graph, Root};

impl Graph {
    /// `drv` failed, by its own fault.
    pub(super) fn condemn(&mut self, drv: &StorePath) {
        self.failed = true;
        self.mark_failed(drv, drv);
    }

    /// `drv` is not built, because of `culprit`.
    pub(super) fn give_up(&mut self, drv: &StorePath, culprit: &StorePath) {
        self.actions.push(Action::GiveUp {
            drv: drv.clone(),
            culprit: culprit.clone(),
        });
        self.mark_failed(drv, culprit);
    }

    /// Marks `drv` and all that waits for it.
    fn mark_failed(&mut self, drv: &StorePath, culprit: &StorePath) {
        let state = State::Failed {
            culprit: culprit.clone(),
        };
        if let Some(node) = self.nodes.get_mut(drv) {
            node.state = state.clone();
        }
        let mut failed = vec![drv.clone()];
        while let Some(drv) = failed.pop() {
            let stranded = |(root, end): (&StorePath, &Root)| {
                let waits = end.waits.contains(&drv);
                waits.then(|| root.clone())
            };
            let stranded: Vec<_> = self.roots.iter().filter_map(stranded).collect();
            let dependents = self.nodes[&drv].dependents.clone();
            for dependent in dependents.into_iter().chain(stranded.clone()) {
                let Some(node) = self.nodes.get_mut(&dependent) else {
                    continue;
                };
                // One that has what it reads goes its own way.
                let waits = node.state == State::Blocked && node.waits.contains(&drv);
                if !waits && (node.has_failed() || !stranded.contains(&dependent)) {
                    continue;
                }
                node.state = state.clone();
                self.actions.push(Action::GiveUp {
                    drv: dependent.clone(),
                    culprit: culprit.clone(),
                });
                if waits {
                    failed.push(dependent);
                }
            }
        }
    }
}
