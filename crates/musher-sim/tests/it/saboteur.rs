//! A scheduler with one fault planted in it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use musher_scheduler::{
    Action, AttemptEnd, BuildId, Event, Explanation, LeaseId, MachineId, Scheduler, Settings,
    Status, Timestamp, WhyNot,
};
use musher_sim::{Decider, Explainer};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None.
    Nothing,
    /// It does not hear that builds are cancelled.
    DeafToCancels,
    /// Its orders to cancel attempts are not carried on.
    CancelsDropped,
    /// A report counts for whatever runs now in place of what it is about.
    LeaseNotChecked,
    /// An event comes after the one behind it.
    EventsSwapped,
    /// Why a build waits is told as it was when it was first asked.
    StaleReasons,
    /// What ended by a machine's fault is forgotten.
    FaultsForgotten,
    /// A build is sent to a second machine while it runs on the first.
    BuiltTwice,
    /// Some builds are never given to a machine.
    SomeLeftWaiting,
}

/// How often a fault that can be rare happens: once in so many events.
const RARELY: u64 = 50;

/// A scheduler with a fault.
pub(crate) struct Saboteur {
    fault: Fault,
    scheduler: Scheduler,
    events: u64,
    held_back: Option<Event>,
    /// Which build each lease was for and where.
    leases: BTreeMap<LeaseId, (BuildId, MachineId)>,
    told: RefCell<BTreeMap<BuildId, Vec<(MachineId, WhyNot)>>>,
}

impl Saboteur {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            scheduler: Scheduler::new(Settings::default(), LeaseId(1)),
            events: 0,
            held_back: None,
            leases: BTreeMap::new(),
            told: RefCell::default(),
        }
    }

    /// The event as the scheduler gets it, if it does.
    fn distort(&mut self, event: Event) -> Option<Event> {
        match (self.fault, event) {
            (Fault::DeafToCancels, Event::BuildCancelled { .. }) => None,
            (
                Fault::FaultsForgotten,
                Event::AttemptEnded {
                    end: AttemptEnd::Faulted { .. },
                    ..
                },
            ) => None,
            (Fault::SomeLeftWaiting, Event::BuildRequested { build, .. }) if build.0 % 40 == 7 => {
                None
            }
            (Fault::LeaseNotChecked, Event::AttemptEnded { lease, end }) => {
                let lease = self.running_instead_of(lease);
                Some(Event::AttemptEnded { lease, end })
            }
            (Fault::EventsSwapped, event) if self.events.is_multiple_of(RARELY) => {
                self.held_back.replace(event)
            }
            (_, event) => Some(event),
        }
    }

    /// The newest lease for the same build.
    fn running_instead_of(&self, lease: LeaseId) -> LeaseId {
        let build = self.leases.get(&lease).map(|(build, _)| *build);
        (self.leases.iter())
            .rfind(|(_, (other, _))| Some(*other) == build)
            .map_or(lease, |(lease, _)| *lease)
    }
}

impl Decider for Saboteur {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        self.events += 1;
        let held_back = self.held_back.take();
        let mut actions = Vec::new();
        for event in self.distort(event).into_iter().chain(held_back) {
            actions.extend(self.scheduler.handle(now, event));
        }
        let mut twice = Vec::new();
        for action in &actions {
            if let Action::Assign {
                build,
                machine,
                lease,
            } = action
            {
                self.leases.insert(*lease, (*build, machine.clone()));
                if self.fault == Fault::BuiltTwice && lease.0.is_multiple_of(RARELY) {
                    twice.push(Action::Assign {
                        build: *build,
                        machine: machine.clone(),
                        lease: LeaseId(lease.0 + 1),
                    });
                }
            }
        }
        actions.extend(twice);
        if self.fault == Fault::CancelsDropped {
            actions.retain(|action| !matches!(action, Action::Cancel { .. }));
        }
        actions
    }

    fn review_at(&self) -> Option<Timestamp> {
        self.scheduler.review_at()
    }
}

impl Explainer for Saboteur {
    fn explain(&self, build: BuildId) -> Option<Explanation> {
        let mut said = self.scheduler.explain(build)?;
        if self.fault == Fault::StaleReasons
            && let Status::Waiting { machines, .. } = &mut said.status
        {
            let mut told = self.told.borrow_mut();
            let first = told.entry(build).or_insert_with(|| machines.clone());
            let names = |list: &[(MachineId, WhyNot)]| -> Vec<MachineId> {
                list.iter().map(|(id, _)| id.clone()).collect()
            };
            // Machines that came or went since would be too easy to find.
            if names(first) == names(machines) {
                machines.clone_from(first);
            }
        }
        Some(said)
    }
}
