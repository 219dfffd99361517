//! That an event's cost does not grow with the builds that wait.

use musher_scheduler::{
    Action, AttemptEnd, BuildId, Estimate, Event, LeaseId, MachineSpec, Needs, Scheduler, Settings,
    SpeedFactor, Timestamp,
};

const BUILDS: u64 = 100_000;

/// Takes seconds; were each event to look at every waiting build, it would take
/// the better part of an hour.
#[test]
fn a_hundred_thousand_waiting_builds_are_no_burden() {
    let now = Timestamp::from_millis(0);
    let mut scheduler = Scheduler::new(Settings::default(), LeaseId(1));
    for id in ["b1", "b2", "b3", "b4"] {
        let spec = MachineSpec {
            id: id.into(),
            systems: ["x".to_owned()].into(),
            slots: 4,
            speed_factor: SpeedFactor::ONE,
            supported_features: [].into(),
            mandatory_features: [].into(),
            memory: None,
        };
        scheduler.handle(now, Event::MachineConfigured { spec });
        scheduler.handle(now, Event::MachineAvailable { machine: id.into() });
    }

    let mut running: Vec<LeaseId> = Vec::new();
    let take = |actions: Vec<Action>, running: &mut Vec<LeaseId>| {
        for action in actions {
            let Action::Assign { lease, .. } = action else {
                panic!("unexpected {action:?}");
            };
            running.push(lease);
        }
    };
    for build in (0..BUILDS).map(BuildId) {
        let needs = Needs {
            system: "x".into(),
            features: [].into(),
        };
        let inputs = vec![];
        let event = Event::BuildRequested {
            request: None,
            estimate: Estimate::UNKNOWN,
            build,
            needs,
            inputs,
        };
        take(scheduler.handle(now, event), &mut running);
    }
    let mut ended = 0;
    while let Some(lease) = running.pop() {
        ended += 1;
        let end = AttemptEnd::Finished;
        let event = Event::AttemptEnded { lease, end };
        take(scheduler.handle(now, event), &mut running);
    }
    assert_eq!(ended, BUILDS);
}
