//! What becomes of outputs that were built and cannot be had any more, since
//! the machine that held them is gone: their derivations are built again.

use std::collections::BTreeSet;

use nix_derivation::StorePath;

use super::node::State;
use super::{Action, Graph, Step};

/// How often a derivation's outputs may be lost before it is given up.
const MOST_LOSSES: u32 = 3;

impl Graph {
    /// A build could not have what it reads.
    pub(super) fn starved(&mut self, drv: &StorePath, lost: &BTreeSet<StorePath>) {
        let recipe = self.nodes.get(drv).and_then(|node| node.recipe.as_ref());
        let reads = recipe.into_iter().flat_map(|recipe| recipe.inputs.keys());
        let makers = self.lose(lost, reads.cloned().collect());
        let Some(node) = self.nodes.get_mut(drv).filter(|node| !node.has_failed()) else {
            return;
        };
        node.state = State::Blocked;
        // What it reads may refer to what was lost without its reading that.
        node.waits = makers;
        self.recover(drv);
    }

    /// A root could not come home.
    pub(super) fn stranded(&mut self, drv: &StorePath, lost: &BTreeSet<StorePath>) {
        let makers = self.lose(lost, BTreeSet::from([drv.clone()]));
        let culprit = makers.iter().find_map(|drv| self.nodes[drv].culprit());
        if let (Some(culprit), false) = (culprit.cloned(), self.nodes[drv].has_failed()) {
            self.give_up(drv, &culprit);
        }
        if let Some(root) = self.roots.get_mut(drv) {
            root.step = Step::Wanted;
            root.waits = makers;
        }
    }

    /// Has what was lost made again, and says what makes it: of two that miss
    /// the same, the second finds it on its way. What nobody would make again,
    /// since it was made anew and has another path, is in the outputs of
    /// `carriers` or in what these were made of: they are made again.
    fn lose(
        &mut self,
        lost: &BTreeSet<StorePath>,
        carriers: BTreeSet<StorePath>,
    ) -> BTreeSet<StorePath> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.made(lost));
        let makers: BTreeSet<_> = nodes.map(|(drv, _)| drv.clone()).collect();
        let makers = match makers.is_empty() && !lost.is_empty() {
            true => carriers,
            false => makers,
        };
        let makers: BTreeSet<_> = makers
            .into_iter()
            .filter(|drv| self.nodes[drv].state != State::Valid)
            .collect();
        let is_built = |drv: &&StorePath| self.nodes[*drv].state == State::Built;
        let again: Vec<_> = makers.iter().filter(is_built).cloned().collect();
        for drv in &again {
            let Some(node) = self.nodes.get_mut(drv) else {
                continue;
            };
            node.missed = std::mem::take(&mut node.outputs);
            node.losses += 1;
            node.state = State::Blocked;
            for dependent in node.dependents.clone() {
                if let Some(waiting) = self.nodes.get_mut(&dependent)
                    && waiting.state == State::Blocked
                {
                    waiting.waits.insert(drv.clone());
                }
            }
        }
        for drv in &again {
            match self.nodes[drv].losses > MOST_LOSSES {
                true => {
                    self.actions.push(Action::LostTooOften { drv: drv.clone() });
                    self.condemn(drv);
                }
                false => self.recover(drv),
            }
        }
        makers
    }

    /// Lets a derivation that is to be built once more wait for what it lacks.
    fn recover(&mut self, drv: &StorePath) {
        let Some(node) = self.nodes.get(drv).filter(|node| !node.has_failed()) else {
            return;
        };
        let inputs = node.recipe.iter().flat_map(|recipe| &recipe.inputs);
        let lacking = inputs.filter(|(input, names)| !self.nodes[*input].has(names));
        let pending = (node.waits.iter()).filter(|drv| !self.nodes[*drv].is_realised());
        let waits: BTreeSet<_> = (lacking.map(|(input, _)| input))
            .chain(pending)
            .cloned()
            .collect();
        for input in &waits {
            let node = self.nodes.get_mut(input);
            if let Some(node) = node {
                node.dependents.insert(drv.clone());
            }
        }
        self.wait(drv, waits);
    }
}
