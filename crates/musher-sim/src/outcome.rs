//! What came of a replay: how long it took, beside how long it had to, and
//! where the difference went. Figures only; how they are shown is not known.

use std::collections::BTreeMap;

use musher_scheduler::{MachineId, RequestId, Timestamp};

use crate::Decider;
use crate::bound::{Load, fair_ends, lower_bound};
use crate::fleet::Fleet;
use crate::replay::Arrival;
use crate::world::{Built, DerivationId, World};

/// What came of a replay; times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// When the last request was over.
    pub makespan: f64,
    /// What it is at least, whoever decides.
    pub lower_bound: f64,
    /// What the builds waited for, added up over all.
    pub waiting: Waiting,
    /// What the makespan consists of.
    pub chain: Chain,
    /// What became of each machine, in the fleet's order.
    pub machines: Vec<Use>,
    /// What became of each request, in the order they were given.
    pub requests: Vec<Served>,
    /// Every attempt, as they ended.
    pub attempts: Vec<Attempt>,
}

/// What builds waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    /// For what they depend on, since their request came.
    pub dependencies: f64,
    /// For a machine.
    pub slots: f64,
    /// For what they depend on to arrive on their machine.
    pub transfers: f64,
}

/// The makespan in parts: backwards from the build that ended last to the last
/// of those it depends on, and so on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chain {
    /// Until the request came.
    pub arrival: f64,
    /// What these builds take on the fastest machine.
    pub building: f64,
    /// What they took longer on theirs.
    pub slower_machines: f64,
    /// What they waited for inputs to arrive.
    pub transfers: f64,
    /// What they waited for a machine.
    pub slots: f64,
    /// Until it was known that what they depend on was built.
    pub reports: f64,
}

/// What became of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// Which.
    pub machine: MachineId,
    /// Attempts that it made.
    pub attempts: usize,
    /// What they took together, transfers not counted.
    pub building: f64,
    /// What they waited there for transfers.
    pub fetching: f64,
    /// Bytes that came over its link.
    pub fetched_bytes: u64,
    /// The part of its slots' time until the makespan in which they built.
    pub busy: f64,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// What for.
    pub root: String,
    /// When it came.
    pub arrival: f64,
    /// When it was over.
    pub end: f64,
    /// How long it took, beside how long it would have taken at least on its
    /// share of the fleet.
    pub slowdown: f64,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The node; those of further graphs are counted on from the first.
    pub node: usize,
    /// Where.
    pub machine: MachineId,
    /// When its inputs were there and it began.
    pub start: f64,
    /// When it was over.
    pub end: f64,
}

impl Outcome {
    /// The makespan beside the bound.
    pub fn ratio(&self) -> f64 {
        if self.lower_bound > 0.0 {
            self.makespan / self.lower_bound
        } else {
            1.0
        }
    }

    pub(crate) fn of<D: Decider>(
        world: &World<D>,
        arrivals: &[Arrival<'_>],
        fleet: &Fleet,
    ) -> Self {
        let loads: Vec<Load> = (arrivals.iter())
            .map(|arrival| Load::of(arrival.graph, arrival.seconds, fleet))
            .collect();
        let fair = fair_ends(&loads, fleet.capacity());
        let requests: Vec<Served> = (arrivals.iter().zip(fair).zip(1..))
            .map(|((arrival, fair), number)| {
                let end = world.end_of(RequestId(number));
                let end = end.map_or(arrival.seconds, |(_, at)| seconds(at));
                let fair = fair - arrival.seconds;
                let took = end - arrival.seconds;
                Served {
                    root: arrival.graph.root.clone(),
                    arrival: arrival.seconds,
                    end,
                    slowdown: if fair > 0.0 { took / fair } else { 1.0 },
                }
            })
            .collect();
        let makespan = requests
            .iter()
            .map(|request| request.end)
            .fold(0.0, f64::max);
        Self {
            makespan,
            lower_bound: lower_bound(&loads, fleet.capacity()),
            waiting: waiting(world.built(), arrivals),
            chain: chain(world, fleet.best_speed()),
            machines: (fleet.machines.iter())
                .map(|machine| used(world, &machine.spec.id, makespan))
                .collect(),
            requests,
            attempts: world.built().iter().map(Attempt::of).collect(),
        }
    }
}

impl Attempt {
    fn of(built: &Built) -> Self {
        Self {
            node: built.derivation.0,
            machine: built.machine.clone(),
            start: seconds(built.begun_at),
            end: seconds(built.ended_at),
        }
    }
}

fn waiting(built: &[Built], arrivals: &[Arrival<'_>]) -> Waiting {
    // The number behind each graph's last node, and when its request came.
    let mut ends = BTreeMap::new();
    let mut nodes = 0;
    for arrival in arrivals {
        nodes += arrival.graph.nodes().len();
        ends.insert(nodes, arrival.seconds);
    }
    let mut waiting = Waiting::default();
    for build in built {
        let arrived = ends.range(build.derivation.0 + 1..).next();
        let arrived = arrived.map_or(0.0, |(_, arrived)| *arrived);
        waiting.dependencies += seconds(build.ready_at) - arrived;
        waiting.slots += between(build.ready_at, build.assigned_at);
        waiting.transfers += between(build.assigned_at, build.begun_at);
    }
    waiting
}

fn chain<D: Decider>(world: &World<D>, best_speed: f64) -> Chain {
    let by_derivation: BTreeMap<DerivationId, &Built> = (world.built().iter())
        .map(|built| (built.derivation, built))
        .collect();
    let mut chain = Chain::default();
    let mut at = world.built().iter().max_by_key(|built| built.ended_at);
    while let Some(built) = at {
        let derivation = world.derivation(built.derivation);
        let took = between(built.begun_at, built.ended_at);
        let at_best = (derivation.seconds / best_speed).min(took);
        chain.building += at_best;
        chain.slower_machines += took - at_best;
        chain.transfers += between(built.assigned_at, built.begun_at);
        chain.slots += between(built.ready_at, built.assigned_at);
        let deps = derivation.deps.iter();
        at = (deps.filter_map(|dep| by_derivation.get(dep).copied())).max_by_key(|b| b.ended_at);
        match at {
            Some(before) => chain.reports += between(before.ended_at, built.ready_at),
            None => chain.arrival = seconds(built.ready_at),
        }
    }
    chain
}

fn used<D: Decider>(world: &World<D>, machine: &MachineId, makespan: f64) -> Use {
    let mut used = Use {
        machine: machine.clone(),
        attempts: 0,
        building: 0.0,
        fetching: 0.0,
        fetched_bytes: 0,
        busy: 0.0,
    };
    for built in world
        .built()
        .iter()
        .filter(|built| built.machine == *machine)
    {
        used.attempts += 1;
        used.building += between(built.begun_at, built.ended_at);
        used.fetching += between(built.assigned_at, built.begun_at);
    }
    if let Some(machine) = world.machines().get(machine) {
        used.fetched_bytes = machine.fetched_bytes;
        let time = makespan * f64::from(machine.spec.slots);
        used.busy = if time > 0.0 {
            used.building / time
        } else {
            0.0
        };
    }
    used
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1e3
}

fn between(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}
