//! What befalls a world, and when: machines that come and go, requests that come
//! and are withdrawn, attempts that fail, reports that come too late.

use std::collections::BTreeSet;
use std::time::Duration;

use musher_scheduler::{
    AttemptEnd, Confidence, Estimate, LeaseId, MachineId, MachineSpec, Needs, OwnerId, Presence,
    RequestId, SpeedFactor,
};

use crate::world::{Asked, Derivation, DerivationId, World};
use crate::{Decider, Random};

/// Every machine that there ever is.
const MACHINES: [&str; 8] = ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"];

const OWNERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// How many of the newest derivations a request may share with those before it.
const SHARED: usize = 60;

/// How long it is until the next thing befalls the world, on average.
const PAUSE_SECONDS: f64 = 60.0;

/// Decides what befalls a world.
#[derive(Debug)]
pub(super) struct Storm {
    random: Random,
    derivations: usize,
    requests: u64,
}

impl Storm {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed, "storm"),
            derivations: 0,
            requests: 0,
        }
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// How long nothing befalls the world.
    pub(super) fn pause(&mut self) -> Duration {
        let seconds = -PAUSE_SECONDS * (1.0 - self.random.unit()).ln();
        Duration::from_secs_f64(seconds)
    }

    /// Sets half of the machines up.
    pub(super) fn begin<D: Decider>(&mut self, world: &mut World<D>) {
        for id in MACHINES.iter().step_by(2) {
            self.join(world, id);
        }
    }

    /// Lets something befall the world.
    pub(super) fn strike<D: Decider>(&mut self, world: &mut World<D>) {
        match self.random.below(100) {
            0..30 => self.ask(world),
            30..34 => self.withdraw(world),
            34..48 => self.interrupt(world),
            48..60 => self.report_late(world),
            60..64 => {
                if let Some(id) = self.random.choose(&MACHINES) {
                    let id = *id;
                    self.join(world, id);
                }
            }
            64..66 => self.leave(world),
            66..74 => self.go_away(world),
            74..88 => self.come_back(world),
            88..91 => self.with_machine(world, World::drain),
            91..97 => self.with_machine(world, World::resume),
            _ => self.with_machine(world, World::lose_store),
        }
    }

    /// Makes all machines good.
    pub(super) fn calm<D: Decider>(&mut self, world: &mut World<D>) {
        for id in MACHINES {
            self.join(world, id);
            world.resume(&id.into());
        }
    }

    fn machine<D: Decider>(&mut self, world: &World<D>) -> Option<MachineId> {
        let ids: Vec<&MachineId> = world.machines().keys().collect();
        self.random.choose(&ids).map(|id| (*id).clone())
    }

    fn with_machine<D: Decider>(
        &mut self,
        world: &mut World<D>,
        happens: impl FnOnce(&mut World<D>, &MachineId),
    ) {
        if let Some(id) = self.machine(world) {
            happens(world, &id);
        }
    }

    fn join<D: Decider>(&mut self, world: &mut World<D>, id: &str) {
        let random = &mut self.random;
        let mut systems: BTreeSet<String> = ["x".to_owned()].into();
        if random.happens(0.6) {
            systems.insert("y".to_owned());
        }
        let mut some = |name: &str, probability| {
            let is = random.happens(probability);
            is.then(|| name.to_owned())
        };
        let supported_features = (some("kvm", 0.6).into_iter())
            .chain(some("big", 0.4))
            .collect();
        let mandatory_features = some("big", 0.1).into_iter().collect();
        let speed_factor = SpeedFactor::new(random.between(0.4, 2.0)).unwrap_or(SpeedFactor::ONE);
        let spec = MachineSpec {
            id: id.into(),
            systems,
            slots: [1, 2, 2, 3, 4][random.below(5)],
            speed_factor,
            supported_features,
            mandatory_features,
            memory: None,
        };
        let mbit = random.happens(0.7).then(|| random.between(20.0, 1000.0));
        world.join(spec, mbit);
    }

    fn leave<D: Decider>(&mut self, world: &mut World<D>) {
        if world.machines().len() > 2 {
            self.with_machine(world, World::leave);
        }
    }

    fn go_away<D: Decider>(&mut self, world: &mut World<D>) {
        if let Some(id) = self.machine(world) {
            let retry_at = (self.random.happens(0.5)).then(|| world.now() + self.pause());
            world.go_away(&id, "the connection broke", retry_at);
        }
    }

    fn come_back<D: Decider>(&mut self, world: &mut World<D>) {
        let away: Vec<MachineId> = (world.machines().values())
            .filter(|machine| machine.presence != Presence::Available)
            .map(|machine| machine.id().clone())
            .collect();
        if let Some(id) = self.random.choose(&away) {
            world.come_back(id);
        }
    }

    fn interrupt<D: Decider>(&mut self, world: &mut World<D>) {
        let leases: Vec<LeaseId> = world.attempts().keys().copied().collect();
        let Some(&lease) = self.random.choose(&leases) else {
            return;
        };
        match self.random.below(10) {
            0..5 => world.interrupt(lease, fault()),
            5..9 => world.interrupt(lease, AttemptEnd::Returned),
            _ => world.fail(lease),
        }
    }

    fn report_late<D: Decider>(&mut self, world: &mut World<D>) {
        let over: Vec<LeaseId> = world.over().collect();
        if let Some(&lease) = self.random.choose(&over) {
            let ends = [AttemptEnd::Finished, fault(), AttemptEnd::Returned];
            let end = ends[self.random.below(3)].clone();
            world.report_late(lease, end);
        }
    }

    fn withdraw<D: Decider>(&mut self, world: &mut World<D>) {
        let open: Vec<RequestId> = world.requests().keys().copied().collect();
        if let Some(&request) = self.random.choose(&open) {
            world.withdraw(request);
        }
    }

    /// A request of a few builds, some of which others want or wanted too.
    fn ask<D: Decider>(&mut self, world: &mut World<D>) {
        let count = match self.random.below(10) {
            0..3 => 1,
            3..9 => 2 + self.random.below(15),
            _ => 20 + self.random.below(40),
        };
        let mut wanted = BTreeSet::new();
        for _ in 0..count {
            let new = self.derivation(world, &wanted);
            wanted.insert(new);
        }
        // All that these depend on is wanted too.
        let mut ahead: Vec<DerivationId> = wanted.iter().copied().collect();
        while let Some(next) = ahead.pop() {
            for dep in &world.derivation(next).deps {
                if !world.is_built(*dep) && wanted.insert(*dep) {
                    ahead.push(*dep);
                }
            }
        }
        self.requests += 1;
        let owner = OWNERS[self.random.below(OWNERS.len())];
        world.ask(Asked {
            request: RequestId(self.requests),
            owner: OwnerId::from(owner),
            priority: [-2, 0, 0, 0, 3][self.random.below(5)],
            max_running: None,
            derivations: wanted,
        });
    }

    fn derivation<D: Decider>(
        &mut self,
        world: &mut World<D>,
        wanted: &BTreeSet<DerivationId>,
    ) -> DerivationId {
        let own: Vec<DerivationId> = wanted.iter().copied().collect();
        let mut deps = BTreeSet::new();
        for _ in 0..self.random.below(4) {
            if self.random.happens(0.15) && self.derivations > 0 {
                let back = 1 + self.random.below(self.derivations.min(SHARED));
                deps.insert(DerivationId(self.derivations - back));
            } else if let Some(dep) = self.random.choose(&own) {
                deps.insert(*dep);
            }
        }
        let random = &mut self.random;
        // From a second to some 20 minutes, mostly short.
        let seconds = (random.unit() * random.unit() * 7.5).exp();
        let known = random.happens(0.7);
        let mut needs = Needs {
            system: if random.happens(0.05) { "y" } else { "x" }.to_owned(),
            features: BTreeSet::new(),
        };
        for (feature, probability) in [("kvm", 0.05), ("big", 0.02)] {
            if random.happens(probability) {
                needs.features.insert(feature.to_owned());
            }
        }
        let output_bytes = random.bits() % 200_000_000;
        let estimate = match known {
            false => Estimate::UNKNOWN,
            true => Estimate {
                seconds: seconds * (0.3 * random.normal()).exp(),
                confidence: Confidence::Similar,
                peak_memory: None,
                output_bytes: Some(output_bytes),
            },
        };
        self.derivations += 1;
        world.add(Derivation {
            seconds,
            output_bytes,
            needs,
            deps: deps.into_iter().collect(),
            estimate,
        })
    }
}

fn fault() -> AttemptEnd {
    AttemptEnd::Faulted {
        reason: "disk full".to_owned(),
    }
}
