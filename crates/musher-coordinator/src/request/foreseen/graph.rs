//! What a client will ask for next, derivation by derivation, and which of that
//! can be built before it does. Pure: facts in, orders out. Knows no store, no
//! machine and no clock.
//!
//! A derivation is built ahead if the client is going to have it built here for
//! sure: it is of the client's request, one that it sends away; one of those it
//! reads was asked for, or built ahead by this rule; what it reads is there; and
//! nobody could have its outputs otherwise.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::StorePath;

/// How a client goes about a derivation that it has to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has it built elsewhere where it can.
    Sent,
    /// It builds it itself if it builds anything itself.
    PreferredLocal,
    /// It builds it itself, or nobody can say beforehand what it asks for.
    Kept,
}

/// What there is to know of a derivation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Those of its outputs whose paths are known.
    pub(super) outputs: BTreeMap<String, StorePath>,
    /// The outputs of other derivations that it reads.
    pub(super) inputs: BTreeMap<StorePath, BTreeSet<String>>,
    pub(super) kind: Kind,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The client is going to realise this.
    Named { drv: StorePath },
    /// A derivation was read.
    Read { drv: StorePath, recipe: Recipe },
    /// Of its outputs these are valid at home.
    Looked {
        drv: StorePath,
        valid: BTreeSet<String>,
    },
    /// Whether any of its outputs can be had from elsewhere without a build.
    Doubted { drv: StorePath, is_elsewhere: bool },
    /// The client asked for it: all that it reads is valid at home.
    Asked { drv: StorePath },
    /// It was built, and its outputs lie where that was.
    Built { drv: StorePath },
    /// It was built, and its outputs came home.
    CameHome { drv: StorePath },
    /// It cannot be built, or the client does not want it any more.
    Ended { drv: StorePath, end: End },
}

/// How a build ended without outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It failed.
    Failed,
    /// Whoever asked for it has left, or it was found that it need not be built.
    Unwanted,
    /// These outputs, which it reads, are gone from where they were built.
    Starved(BTreeSet<StorePath>),
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Read a derivation; answered by `Read` or not at all.
    Read { drv: StorePath },
    /// Find out which of its outputs are valid at home; answered by `Looked`.
    Look {
        drv: StorePath,
        outputs: BTreeMap<String, StorePath>,
    },
    /// Find out whether these outputs can be had without a build; answered by
    /// `Doubted`.
    Doubt {
        drv: StorePath,
        outputs: BTreeSet<StorePath>,
    },
    /// Build it; answered by `Built` or `Ended`.
    Build { drv: StorePath },
}

/// Where a derivation is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing was done about it.
    #[default]
    Idle,
    /// It is being built.
    Building,
    /// It was built, and its outputs are there.
    Built,
    /// It is left to the client.
    Over,
}

/// Whether the outputs of a derivation can be had without a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Elsewhere {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// Somebody asks.
    Doubted,
    No,
    Yes,
}

#[derive(Debug)]
struct Node {
    drv: StorePath,
    /// Whether the client is going to realise it.
    is_named: bool,
    /// Whether the client asked for it.
    is_asked: bool,
    recipe: Option<Recipe>,
    /// What it reads, and which outputs of that.
    inputs: Vec<(usize, BTreeSet<String>)>,
    dependents: Vec<usize>,
    /// The outputs that are valid at home, once that is known.
    valid: Option<BTreeSet<String>>,
    elsewhere: Elsewhere,
    state: State,
}

impl Node {
    /// Whether the client has it built here, and does not get it otherwise.
    fn is_sent(&self) -> bool {
        self.is_asked || matches!(self.state, State::Building | State::Built)
    }

    /// Whether these outputs of it can be read.
    fn has(&self, names: &BTreeSet<String>) -> bool {
        let valid = self.valid.as_ref();
        let recipe = self.recipe.as_ref();
        recipe.is_some_and(|recipe| names.iter().all(|name| recipe.outputs.contains_key(name)))
            && (self.state == State::Built || valid.is_some_and(|valid| names.is_subset(valid)))
    }
}

/// What is known of one client's request.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    by_drv: BTreeMap<StorePath, usize>,
    /// Whether the client has asked for one that it would rather build itself:
    /// then it builds nothing.
    sends_all: bool,
    /// Whether the client was told of a failure and has asked for nothing since:
    /// it may want nothing more.
    is_paused: bool,
    /// What could be built but for that.
    paused: BTreeSet<usize>,
    /// Whether nothing is built ahead any more.
    is_halted: bool,
    /// What has to be looked at again.
    open: Vec<usize>,
    actions: Vec<Action>,
}

impl Graph {
    /// Takes note of a fact; the orders that follow from it.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Named { drv } => {
                let at = self.node(&drv);
                if !std::mem::replace(&mut self.nodes[at].is_named, true) {
                    self.actions.push(Action::Read { drv });
                }
            }
            Event::Read { drv, recipe } => self.read(&drv, recipe),
            Event::Looked { drv, valid } => {
                let at = self.node(&drv);
                self.valid(at, valid);
            }
            Event::Doubted { drv, is_elsewhere } => {
                let at = self.node(&drv);
                self.nodes[at].elsewhere = match is_elsewhere {
                    true => Elsewhere::Yes,
                    false => Elsewhere::No,
                };
                self.open.push(at);
            }
            Event::Asked { drv } => self.asked(&drv),
            Event::Built { drv } => {
                let at = self.node(&drv);
                self.nodes[at].state = State::Built;
                self.open_dependents(at);
            }
            Event::CameHome { drv } => {
                let at = self.node(&drv);
                let outputs = self.nodes[at].recipe.iter();
                let outputs = outputs.flat_map(|recipe| recipe.outputs.keys().cloned());
                self.valid(at, outputs.collect());
            }
            Event::Ended { drv, end } => self.ended(&drv, &end),
        }
        self.settle()
    }

    /// Builds nothing ahead from now on.
    pub(super) fn halt(&mut self) {
        self.is_halted = true;
    }

    /// The outputs of other derivations that `drv` reads.
    pub(super) fn reads(&self, drv: &StorePath) -> BTreeSet<StorePath> {
        let node = self.by_drv.get(drv).map(|at| &self.nodes[*at]);
        let inputs = node.into_iter().flat_map(|node| &node.inputs);
        let paths = inputs.flat_map(|(input, names)| {
            let recipe = self.nodes[*input].recipe.iter();
            let outputs = recipe.flat_map(|recipe| &recipe.outputs);
            outputs.filter(|(name, _)| names.contains(*name))
        });
        paths.map(|(_, path)| path.clone()).collect()
    }

    /// Whether anything is being built.
    pub(super) fn is_building(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.state == State::Building)
    }

    fn node(&mut self, drv: &StorePath) -> usize {
        if let Some(at) = self.by_drv.get(drv) {
            return *at;
        }
        let at = self.nodes.len();
        self.nodes.push(Node {
            drv: drv.clone(),
            is_named: false,
            is_asked: false,
            recipe: None,
            inputs: Vec::new(),
            dependents: Vec::new(),
            valid: None,
            elsewhere: Elsewhere::Unknown,
            state: State::Idle,
        });
        self.by_drv.insert(drv.clone(), at);
        at
    }

    fn read(&mut self, drv: &StorePath, recipe: Recipe) {
        let at = self.node(drv);
        if self.nodes[at].recipe.is_some() {
            return;
        }
        for (input, names) in &recipe.inputs {
            let input = self.node(input);
            self.nodes[input].dependents.push(at);
            self.nodes[at].inputs.push((input, names.clone()));
        }
        self.actions.push(Action::Look {
            drv: drv.clone(),
            outputs: recipe.outputs.clone(),
        });
        self.nodes[at].recipe = Some(recipe);
        if self.nodes[at].is_asked {
            self.has_inputs(at);
        }
    }

    /// More outputs of a derivation are known to be valid at home.
    fn valid(&mut self, at: usize, names: BTreeSet<String>) {
        let valid = self.nodes[at].valid.get_or_insert_default();
        valid.extend(names);
        self.open.push(at);
        self.open_dependents(at);
    }

    fn asked(&mut self, drv: &StorePath) {
        let at = self.node(drv);
        let node = &mut self.nodes[at];
        node.is_asked = true;
        if node.state != State::Built {
            node.state = State::Building;
        }
        self.is_paused = false;
        self.open.extend(std::mem::take(&mut self.paused));
        self.has_inputs(at);
        self.open_dependents(at);
    }

    /// The client has all that a derivation reads at home, since it asked for it.
    fn has_inputs(&mut self, at: usize) {
        for (input, names) in self.nodes[at].inputs.clone() {
            self.valid(input, names);
        }
        let kind = self.nodes[at].recipe.as_ref().map(|recipe| recipe.kind);
        if kind == Some(Kind::PreferredLocal) && !self.sends_all {
            self.sends_all = true;
            self.open.extend(0..self.nodes.len());
        }
    }

    fn ended(&mut self, drv: &StorePath, end: &End) {
        let at = self.node(drv);
        self.nodes[at].state = State::Over;
        match end {
            End::Failed => self.is_paused |= self.nodes[at].is_asked,
            End::Unwanted => {}
            End::Starved(lost) => {
                for node in &mut self.nodes {
                    let recipe = node.recipe.iter();
                    let mut outputs = recipe.flat_map(|recipe| recipe.outputs.values());
                    if node.state == State::Built && outputs.any(|path| lost.contains(path)) {
                        node.state = State::Over;
                    }
                }
            }
        }
    }

    fn open_dependents(&mut self, at: usize) {
        self.open.extend(self.nodes[at].dependents.iter().copied());
    }

    /// The orders given so far, with those that follow from how things stand.
    fn settle(&mut self) -> Vec<Action> {
        while let Some(at) = self.open.pop() {
            self.look_at(at);
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether a derivation can be built ahead now, or what is left to find out.
    fn look_at(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(recipe) = &node.recipe else {
            return;
        };
        let is_sent = match recipe.kind {
            Kind::Sent => true,
            Kind::PreferredLocal => self.sends_all,
            Kind::Kept => false,
        };
        let is_missing = node.valid.as_ref().is_some_and(BTreeSet::is_empty);
        let mut inputs = node.inputs.iter();
        let follows = inputs.any(|(input, _)| self.nodes[*input].is_sent());
        if self.is_halted || node.state != State::Idle || !(is_sent && is_missing && follows) {
            return;
        }
        match node.elsewhere {
            Elsewhere::No => {}
            Elsewhere::Doubted | Elsewhere::Yes => return,
            Elsewhere::Unknown => {
                self.actions.push(Action::Doubt {
                    drv: node.drv.clone(),
                    outputs: recipe.outputs.values().cloned().collect(),
                });
                self.nodes[at].elsewhere = Elsewhere::Doubted;
                return;
            }
        }
        let mut inputs = node.inputs.iter();
        if !inputs.all(|(input, names)| self.nodes[*input].has(names)) {
            return;
        }
        if self.is_paused {
            self.paused.insert(at);
            return;
        }
        let drv = node.drv.clone();
        self.actions.push(Action::Build { drv });
        self.nodes[at].state = State::Building;
        self.open_dependents(at);
    }
}
