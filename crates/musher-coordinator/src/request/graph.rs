//! The graph of one request: what is to be built, what each derivation waits
//! for, and what came of it. Pure: facts in, orders out. Knows no store, no
//! machine and no clock; derivations are read, and outputs looked for, by
//! whoever carries the orders out.
//!
//! It is walked from the roots down, and no further than needed: below a
//! derivation whose wanted outputs are valid at home nothing is read.

mod failure;
mod loss;
mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

use node::{Node, State};

/// Outputs by name.
pub(crate) type Outputs = BTreeMap<String, StorePath>;

/// What the graph needs to know of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Its outputs, with their paths where these are known before the build.
    pub(crate) outputs: BTreeMap<String, Option<StorePath>>,
    /// The outputs of other derivations that it reads.
    pub(crate) inputs: BTreeMap<StorePath, BTreeSet<String>>,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A derivation was read.
    Read { drv: StorePath, recipe: Recipe },
    /// Of the outputs looked for, these are valid at home.
    Looked { drv: StorePath, valid: Outputs },
    /// A derivation was built, and its outputs lie where they were built.
    Built { drv: StorePath, outputs: Outputs },
    /// A derivation whose outputs are at home was built again, and nothing else
    /// came of it.
    Checked { drv: StorePath },
    /// A derivation cannot be read or built, and that is that.
    Failed { drv: StorePath },
    /// A build came to nothing because these outputs, which it reads, cannot
    /// be had any more. None: they were made again in the meantime.
    Starved {
        drv: StorePath,
        lost: BTreeSet<StorePath>,
    },
    /// The outputs of a root are at home.
    CameHome { drv: StorePath },
    /// The outputs of a root cannot come home because these outputs, which
    /// they refer to, cannot be had any more.
    Stranded {
        drv: StorePath,
        lost: BTreeSet<StorePath>,
    },
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read a derivation; answered by `Read`.
    Read { drv: StorePath },
    /// Find out which of these outputs are valid at home; answered by `Looked`.
    Look {
        drv: StorePath,
        outputs: BTreeMap<String, Option<StorePath>>,
    },
    /// All is known now: these derivations are to be built, and this many were
    /// valid.
    Plan {
        builds: Vec<StorePath>,
        valid: usize,
    },
    /// Build a derivation: everything it reads is there.
    Build { drv: StorePath },
    /// Bring the outputs of a root home.
    BringHome { drv: StorePath, outputs: Outputs },
    /// Say that a derivation is not built, because `culprit` failed.
    GiveUp { drv: StorePath, culprit: StorePath },
    /// Say that a derivation has failed: its outputs were lost too often.
    LostTooOften { drv: StorePath },
    /// Say that a derivation has failed: it does not have an output that is
    /// wanted of it.
    NoOutput { drv: StorePath, output: String },
    /// Say that a derivation has failed: there is nothing at home to hold a new
    /// build of it against.
    NothingToCheck { drv: StorePath },
}

/// A derivation that was asked for.
#[derive(Debug)]
struct Root {
    /// The outputs asked for; none names them all.
    outputs: BTreeSet<String>,
    /// What must be made again before its outputs can come home.
    waits: BTreeSet<StorePath>,
    step: Step,
}

/// How far a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its outputs are not there yet.
    Wanted,
    /// They are on their way home.
    Coming,
    /// They are at home.
    Home,
}

/// How a root ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Its outputs are at home.
    Home(Outputs),
    /// It failed, because of this derivation or itself.
    Failed { culprit: StorePath },
    /// The request ended before it was decided.
    Undecided,
}

/// The graph of one request.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: BTreeMap<StorePath, Node>,
    roots: BTreeMap<StorePath, Root>,
    keep_going: bool,
    /// Whether roots are built though they are valid.
    check: bool,
    /// Whether something failed.
    failed: bool,
    planned: bool,
    /// Derivations that are read or looked for.
    open: usize,
    actions: Vec<Action>,
}

impl Graph {
    /// The graph for `roots`: derivations and the outputs wanted of each, all of
    /// them where none is named. Without `keep_going` the first failure is the
    /// end; with `check` they are built again.
    pub(crate) fn new(
        roots: BTreeMap<StorePath, BTreeSet<String>>,
        keep_going: bool,
        check: bool,
    ) -> (Self, Vec<Action>) {
        let mut graph = Self {
            nodes: BTreeMap::new(),
            roots: BTreeMap::new(),
            keep_going,
            check,
            failed: false,
            planned: false,
            open: 0,
            actions: Vec::new(),
        };
        for (drv, outputs) in roots {
            let root = Root {
                outputs,
                waits: BTreeSet::new(),
                step: Step::Wanted,
            };
            graph.roots.insert(drv.clone(), root);
            graph.node(&drv);
        }
        let actions = graph.settle();
        (graph, actions)
    }

    /// Takes note of a fact; the orders that follow from it.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Read { drv, recipe } => self.read(&drv, recipe),
            Event::Looked { drv, valid } => self.looked(&drv, valid),
            Event::Built { drv, outputs } => self.built(&drv, outputs),
            Event::Checked { drv } => self.realised(&drv, State::Valid),
            Event::Failed { drv } => {
                if self
                    .nodes
                    .get(&drv)
                    .is_some_and(|node| node.recipe.is_none())
                {
                    self.open -= 1;
                }
                self.condemn(&drv);
            }
            Event::Starved { drv, lost } => self.starved(&drv, &lost),
            Event::CameHome { drv } => {
                if let Some(root) = self.roots.get_mut(&drv) {
                    root.step = Step::Home;
                }
            }
            Event::Stranded { drv, lost } => self.stranded(&drv, &lost),
        }
        self.settle()
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_over(&self) -> bool {
        let decided = |(drv, root): (&StorePath, &Root)| {
            root.step == Step::Home || self.nodes[drv].has_failed()
        };
        (self.failed && !self.keep_going) || self.roots.iter().all(decided)
    }

    /// How each root ended.
    pub(crate) fn ends(&self) -> BTreeMap<StorePath, End> {
        let end = |drv, root: &Root| match (&self.nodes[drv].state, root.step) {
            (_, Step::Home) => End::Home(self.wanted_of(drv, root)),
            (State::Failed { culprit }, _) => End::Failed {
                culprit: culprit.clone(),
            },
            (_, Step::Wanted | Step::Coming) => End::Undecided,
        };
        let roots = self.roots.iter();
        roots
            .map(|(drv, root)| (drv.clone(), end(drv, root)))
            .collect()
    }

    /// The outputs of a derivation that are there, if it is one of the graph's.
    pub(crate) fn outputs(&self, drv: &StorePath) -> Option<&Outputs> {
        self.nodes.get(drv).map(|node| &node.outputs)
    }

    /// Where the outputs that a derivation reads are.
    pub(crate) fn inputs(&self, drv: &StorePath) -> BTreeMap<StorePath, Outputs> {
        let inputs = self.nodes.get(drv).and_then(|node| node.recipe.as_ref());
        let inputs = inputs.into_iter().flat_map(|recipe| &recipe.inputs);
        inputs
            .map(|(input, names)| {
                let there = self.nodes.get(input).map(|node| &node.outputs);
                let named = there.into_iter().flatten();
                let read = named.filter(|(name, _)| names.contains(*name));
                let read = read.map(|(name, path)| (name.clone(), path.clone()));
                (input.clone(), read.collect())
            })
            .collect()
    }

    /// The derivation, which is read if it is new.
    fn node(&mut self, drv: &StorePath) -> &mut Node {
        if !self.nodes.contains_key(drv) {
            self.open += 1;
            self.actions.push(Action::Read { drv: drv.clone() });
        }
        self.nodes.entry(drv.clone()).or_default()
    }

    fn read(&mut self, drv: &StorePath, recipe: Recipe) {
        let Some(node) = self.nodes.get_mut(drv) else {
            return;
        };
        self.open -= 1;
        if let Some(root) = self.roots.get(drv) {
            match root.outputs.is_empty() {
                true => node.wants.extend(recipe.outputs.keys().cloned()),
                false => node.wants.extend(root.outputs.iter().cloned()),
            }
        }
        node.recipe = Some(recipe);
        self.look(drv);
    }

    /// Asks whether what is wanted of `drv` is valid.
    fn look(&mut self, drv: &StorePath) {
        let Some(node) = self.nodes.get_mut(drv) else {
            return;
        };
        let drv = drv.clone();
        if let Some(output) = node.impossible() {
            self.actions.push(Action::NoOutput {
                drv: drv.clone(),
                output,
            });
            return self.condemn(&drv);
        }
        let outputs = node.lacking();
        node.state = State::Doubtful;
        node.looked_for = outputs.keys().cloned().collect();
        self.open += 1;
        self.actions.push(Action::Look { drv, outputs });
    }

    fn looked(&mut self, drv: &StorePath, valid: Outputs) {
        let Some(node) = self.nodes.get_mut(drv) else {
            return;
        };
        self.open -= 1;
        node.outputs.extend(valid);
        let is_there = node.has(&node.wants);
        if self.check && self.roots.contains_key(drv) {
            match is_there {
                true => self.open_inputs(drv),
                false => {
                    self.actions
                        .push(Action::NothingToCheck { drv: drv.clone() });
                    self.condemn(drv);
                }
            }
        } else if is_there {
            self.realised(drv, State::Valid);
        } else if node.has(&node.looked_for) {
            // Someone came to want more while it was looked for.
            self.look(drv);
        } else {
            self.open_inputs(drv);
        }
    }

    /// Wants what `drv` reads, and lets it wait for that.
    fn open_inputs(&mut self, drv: &StorePath) {
        let Some(recipe) = self.nodes.get(drv).and_then(|node| node.recipe.clone()) else {
            return;
        };
        let mut waits = BTreeSet::new();
        for (input, names) in recipe.inputs {
            let node = self.node(&input);
            node.dependents.insert(drv.clone());
            node.wants.extend(names);
            if node.is_realised() {
                continue;
            }
            let wants_more = matches!(node.state, State::Valid | State::Built);
            waits.insert(input.clone());
            if wants_more {
                self.look(&input);
            }
        }
        self.wait(drv, waits);
    }

    /// Lets `drv` wait for the outputs of `waits`.
    fn wait(&mut self, drv: &StorePath, waits: BTreeSet<StorePath>) {
        let culprit = waits.iter().find_map(|drv| self.nodes[drv].culprit());
        if let Some(culprit) = culprit.cloned() {
            return self.give_up(drv, &culprit);
        }
        if let Some(node) = self.nodes.get_mut(drv) {
            node.state = State::Blocked;
            node.waits = waits;
        }
        self.build_if_ready(drv);
    }

    fn build_if_ready(&mut self, drv: &StorePath) {
        let stopped = self.failed && !self.keep_going;
        if let Some(node) = self.nodes.get_mut(drv)
            && node.state == State::Blocked
            && node.waits.is_empty()
            && !stopped
        {
            node.state = State::Building;
            self.actions.push(Action::Build { drv: drv.clone() });
        }
    }

    fn built(&mut self, drv: &StorePath, outputs: Outputs) {
        if let Some(node) = self.nodes.get_mut(drv) {
            node.outputs = outputs;
            node.missed.clear();
            self.realised(drv, State::Built);
        }
    }

    /// What is wanted of `drv` is there: who waited for it waits no longer.
    fn realised(&mut self, drv: &StorePath, state: State) {
        let Some(node) = self.nodes.get_mut(drv) else {
            return;
        };
        node.state = state;
        for dependent in node.dependents.clone() {
            if let Some(waiting) = self.nodes.get_mut(&dependent) {
                waiting.waits.remove(drv);
            }
            self.build_if_ready(&dependent);
        }
        for root in self.roots.values_mut() {
            root.waits.remove(drv);
        }
    }

    /// The outputs wanted of a root, as far as they are there.
    fn wanted_of(&self, drv: &StorePath, root: &Root) -> Outputs {
        let outputs = self.nodes[drv].outputs.iter();
        let wanted = |name: &String| root.outputs.is_empty() || root.outputs.contains(name);
        outputs
            .filter(|(name, _)| wanted(name))
            .map(|(name, path)| (name.clone(), path.clone()))
            .collect()
    }

    /// The orders given so far, with those that follow from how things stand:
    /// roots that can come home, and the plan once it is made.
    fn settle(&mut self) -> Vec<Action> {
        let mut coming = Vec::new();
        for (drv, root) in &self.roots {
            if root.step != Step::Wanted || !root.waits.is_empty() {
                continue;
            }
            match self.nodes[drv].state {
                State::Valid => coming.push((drv.clone(), Step::Home)),
                State::Built => coming.push((drv.clone(), Step::Coming)),
                State::Unread
                | State::Doubtful
                | State::Blocked
                | State::Building
                | State::Failed { .. } => {}
            }
        }
        for (drv, step) in coming {
            if step == Step::Coming {
                let outputs = self.wanted_of(&drv, &self.roots[&drv]);
                let drv = drv.clone();
                self.actions.push(Action::BringHome { drv, outputs });
            }
            if let Some(root) = self.roots.get_mut(&drv) {
                root.step = step;
            }
        }
        if self.open == 0 && !self.planned {
            self.planned = true;
            let valid = self
                .nodes
                .values()
                .filter(|node| node.state == State::Valid);
            let plan = Action::Plan {
                valid: valid.count(),
                builds: self.to_build(),
            };
            self.actions.insert(0, plan);
        }
        std::mem::take(&mut self.actions)
    }

    /// The derivations that are not valid and have not failed.
    fn to_build(&self) -> Vec<StorePath> {
        let is_to_be = |node: &Node| match node.state {
            State::Blocked | State::Building | State::Built => true,
            State::Unread | State::Doubtful | State::Valid | State::Failed { .. } => false,
        };
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, node)| is_to_be(node))
            .map(|(drv, _)| drv.clone())
            .collect()
    }
}
