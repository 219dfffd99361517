//! How fast machines are, learnt from what several of them built.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::median;
use crate::{MachineId, SpeedFactor};

/// Comparisons kept of a machine, the newest.
const KEPT: usize = 64;
/// Comparisons that weigh as much as the configured factor.
const DOUBT: f64 = 5.0;
/// How far from its configured factor a machine may be, as a ratio.
const FARTHEST: f64 = 4.0;
/// The change of a speed that is worth telling, as a ratio.
const WORTH_TELLING: f64 = 1.05;
/// Machines remembered; beyond it the one that was compared longest ago goes.
const MACHINES: usize = 2000;

/// The speeds of machines. Their logarithms, throughout: ratios become
/// differences.
#[derive(Debug, Default)]
pub(super) struct Speeds {
    machines: BTreeMap<MachineId, Machine>,
    /// Those whose speed may be worth telling.
    changed: BTreeSet<MachineId>,
    /// Counts what happens, so that the oldest is known.
    turn: u64,
}

#[derive(Debug)]
struct Machine {
    configured: f64,
    /// Other machines, and how much longer the same took there.
    compared: VecDeque<(MachineId, f64)>,
    speed: f64,
    told: Option<f64>,
    turn: u64,
}

impl Speeds {
    pub(super) fn configure(&mut self, machine: &MachineId, factor: SpeedFactor) {
        let known = self.machine(machine);
        known.configured = factor.value().ln();
        known.told = None;
        self.learn(machine);
    }

    /// The same took longer on `other` than on `machine`, by a ratio of which
    /// this is the logarithm.
    pub(super) fn compared(&mut self, machine: &MachineId, other: &MachineId, ratio: f64) {
        self.machine(machine).add(other, ratio);
        self.machine(other).add(machine, -ratio);
        self.learn(machine);
        self.learn(other);
    }

    /// How fast a machine is as far as anything is known.
    pub(super) fn factor(&self, machine: &MachineId) -> f64 {
        let known = self.machines.get(machine);
        known.map_or(1.0, |machine| machine.speed.exp())
    }

    /// How fast a machine was found to be.
    pub(super) fn learnt(&self, machine: &MachineId) -> Option<SpeedFactor> {
        self.machines.get(machine).and_then(Machine::learnt)
    }

    /// The machines whose speed was learnt, and from how many comparisons.
    pub(super) fn all(&self) -> impl Iterator<Item = (&MachineId, SpeedFactor, usize)> {
        (self.machines.iter())
            .filter_map(|(id, machine)| Some((id, machine.learnt()?, machine.compared.len())))
    }

    /// The speeds that are worth telling.
    pub(super) fn changed(&mut self) -> Vec<(MachineId, SpeedFactor)> {
        let mut news = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(machine) = self.machines.get_mut(&id) else {
                continue;
            };
            let Some(factor) = machine.learnt() else {
                continue;
            };
            let is_news = |told: f64| (machine.speed - told).abs() > WORTH_TELLING.ln();
            if machine.told.is_none_or(is_news) {
                machine.told = Some(machine.speed);
                news.push((id, factor));
            }
        }
        news
    }

    fn machine(&mut self, id: &MachineId) -> &mut Machine {
        self.turn += 1;
        if !self.machines.contains_key(id) && self.machines.len() >= MACHINES {
            let oldest = self.machines.iter().min_by_key(|(_, machine)| machine.turn);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.machines.remove(&oldest);
            }
        }
        let machine = self.machines.entry(id.clone()).or_insert(Machine {
            configured: 0.0,
            compared: VecDeque::new(),
            speed: 0.0,
            told: None,
            turn: 0,
        });
        machine.turn = self.turn;
        machine
    }

    /// Works out how fast a machine is beside those it was compared with, as
    /// fast as these are known to be. Every machine's configured factor has its
    /// say, so that together they cannot drift away.
    fn learn(&mut self, id: &MachineId) {
        let Some(machine) = self.machines.get(id) else {
            return;
        };
        let beside = machine.compared.iter().map(|(other, ratio)| {
            let other = self.machines.get(other);
            ratio + other.map_or(0.0, |other| other.speed)
        });
        // At most KEPT: exact.
        let count = machine.compared.len() as f64;
        let configured = machine.configured;
        let speed = match median::plain(beside.collect()) {
            Some(found) => (found * count + configured * DOUBT) / (count + DOUBT),
            None => configured,
        };
        let farthest = FARTHEST.ln();
        let speed = speed.clamp(configured - farthest, configured + farthest);
        if let Some(machine) = self.machines.get_mut(id) {
            machine.speed = speed;
            self.changed.insert(id.clone());
        }
    }
}

impl Machine {
    fn add(&mut self, other: &MachineId, ratio: f64) {
        if self.compared.len() >= KEPT {
            self.compared.pop_front();
        }
        self.compared.push_back((other.clone(), ratio));
    }

    fn learnt(&self) -> Option<SpeedFactor> {
        let is_learnt = !self.compared.is_empty();
        is_learnt
            .then(|| SpeedFactor::new(self.speed.exp()).ok())
            .flatten()
    }
}
