//! What is true after every event, whatever happened. Each property is cited by
//! its name in `ARCHITECTURE.md`.

use std::collections::BTreeSet;

use musher_scheduler::{Action, AttemptEnd, Event, MachineId, Status};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::world::{Fate, Happening, World, happenings};

type Verdict = Result<(), TestCaseError>;

/// Plays the story and holds `invariant` against the world after each event.
fn after_each(story: &[Happening], invariant: fn(&World) -> Verdict) -> Verdict {
    let mut world = World::new();
    for happening in story {
        world.happen(happening);
        invariant(&world)?;
    }
    Ok(())
}

/// Slots taken on `machine`.
fn taken(world: &World, machine: &MachineId) -> usize {
    (world.taken.values())
        .filter(|taken| taken.machine == *machine)
        .count()
}

fn no_more_attempts_than_slots(world: &World) -> Verdict {
    for (_, machine) in world.assigned() {
        let slots = world.machines[machine].spec.slots as usize;
        prop_assert!(taken(world, machine) <= slots, "too many on {machine}");
    }
    for view in world.scheduler.fleet() {
        prop_assert_eq!(view.running, taken(world, &view.spec.id));
    }
    Ok(())
}

fn only_open_and_suitable_machines_are_assigned(world: &World) -> Verdict {
    for (build, machine) in world.assigned() {
        let known = &world.machines[machine];
        prop_assert!(known.available, "{machine} is away");
        prop_assert!(!known.drained, "{machine} is drained");
        prop_assert_eq!(world.needs[&build].lacks(&known.spec), []);
    }
    Ok(())
}

fn every_wanted_build_runs_or_waits_with_a_reason(world: &World) -> Verdict {
    for (build, fate) in &world.fates {
        let explanation = world.scheduler.explain(*build);
        if *fate != Fate::Wanted {
            prop_assert_eq!(explanation, None);
            continue;
        }
        let Some(explanation) = explanation else {
            return Err(TestCaseError::fail(format!("{build} is forgotten")));
        };
        match explanation.status {
            Status::Running { lease, machine, .. } => {
                let taken = world.taken.get(&lease).map(|t| (t.build, &t.machine));
                prop_assert_eq!(taken, Some((*build, &machine)));
            }
            Status::Planned { .. } => {
                return Err(TestCaseError::fail(format!("{build} is not ready")));
            }
            Status::Waiting { machines, .. } => {
                let with_reason: Vec<_> = machines.iter().map(|(id, _)| id).collect();
                let all: Vec<_> = world.machines.keys().collect();
                prop_assert_eq!(with_reason, all);
                prop_assert!(world.scheduler.could_build(&world.needs[build]).is_ok());
            }
        }
    }
    Ok(())
}

fn only_what_no_machine_could_build_is_refused(world: &World) -> Verdict {
    for action in &world.actions {
        if let Action::Refuse { build, refusal } = action {
            let lacks: Vec<_> = (world.machines.iter())
                .map(|(id, known)| (id.clone(), world.needs[build].lacks(&known.spec)))
                .collect();
            prop_assert!(lacks.iter().all(|(_, lacks)| !lacks.is_empty()));
            prop_assert_eq!(&refusal.machines, &lacks);
        }
    }
    Ok(())
}

fn a_build_has_one_live_attempt_and_only_if_wanted(world: &World) -> Verdict {
    let mut running = BTreeSet::new();
    for (lease, taken) in &world.taken {
        if !taken.cancelled {
            prop_assert!(running.insert(taken.build), "{} runs twice", taken.build);
            prop_assert_eq!(world.fates[&taken.build], Fate::Wanted, "lease {}", lease);
        }
    }
    Ok(())
}

fn leases_only_increase(world: &World) -> Verdict {
    prop_assert!(world.leases.is_sorted_by(|a, b| a < b));
    Ok(())
}

fn pointless_attempts_are_cancelled_once(world: &World) -> Verdict {
    let cancelled: Vec<_> = (world.actions.iter())
        .filter_map(|action| match action {
            Action::Cancel { lease, .. } => Some(*lease),
            Action::Assign { .. } | Action::Refuse { .. } | Action::GiveUp { .. } => None,
        })
        .collect();
    let expected: Vec<_> = world.pointless.iter().copied().collect();
    prop_assert_eq!(cancelled, expected);
    Ok(())
}

/// Of builds with the same needs and no faults, none waits while a later one is
/// assigned, unless there is a faster machine to wait for. (Build numbers are in
/// the order of requests here.)
fn alike_builds_start_in_the_order_of_requests(world: &World) -> Verdict {
    for (assigned, machine) in world.assigned() {
        let needs = &world.needs[&assigned];
        let speed = world.machines[machine].spec.speed_factor;
        let others = world.machines.values().map(|known| &known.spec);
        let mut suitable = others.filter(|spec| needs.lacks(spec).is_empty());
        if suitable.any(|spec| spec.speed_factor > speed) {
            continue;
        }
        for build in world.wanted().filter(|build| *build < assigned) {
            let waits = world.scheduler.explain(build).is_some_and(|explanation| {
                matches!(explanation.status, Status::Waiting { .. })
                    && explanation.faults.is_empty()
            });
            let alike = world.needs[&build] == *needs;
            prop_assert!(!(waits && alike), "{assigned} overtook {build}");
        }
    }
    Ok(())
}

/// Brings every machine back and ends every attempt well, until nothing runs.
fn let_all_be_well(world: &mut World) -> Verdict {
    let machines: Vec<_> = world.machines.keys().cloned().collect();
    for machine in machines {
        let resumed = machine.clone();
        world.tell(Event::MachineResumed { machine: resumed });
        world.tell(Event::MachineAvailable { machine });
    }
    let bound = world.needs.len() + world.taken.len();
    for _ in 0..=bound {
        let Some((&lease, _)) = world.taken.first_key_value() else {
            return Ok(());
        };
        let end = AttemptEnd::Finished;
        world.tell(Event::AttemptEnded { lease, end });
    }
    Err(TestCaseError::fail("more attempts than builds"))
}

proptest! {
    #[test]
    fn invariant_no_more_attempts_than_slots(story in happenings()) {
        after_each(&story, no_more_attempts_than_slots)?;
    }

    #[test]
    fn invariant_only_open_and_suitable_machines_are_assigned(story in happenings()) {
        after_each(&story, only_open_and_suitable_machines_are_assigned)?;
    }

    #[test]
    fn invariant_every_wanted_build_runs_or_waits_with_a_reason(story in happenings()) {
        after_each(&story, every_wanted_build_runs_or_waits_with_a_reason)?;
    }

    #[test]
    fn invariant_only_what_no_machine_could_build_is_refused(story in happenings()) {
        after_each(&story, only_what_no_machine_could_build_is_refused)?;
    }

    #[test]
    fn invariant_a_build_has_one_live_attempt_and_only_if_wanted(story in happenings()) {
        after_each(&story, a_build_has_one_live_attempt_and_only_if_wanted)?;
    }

    #[test]
    fn invariant_leases_only_increase(story in happenings()) {
        after_each(&story, leases_only_increase)?;
    }

    #[test]
    fn invariant_pointless_attempts_are_cancelled_once(story in happenings()) {
        after_each(&story, pointless_attempts_are_cancelled_once)?;
    }

    #[test]
    fn invariant_alike_builds_start_in_the_order_of_requests(story in happenings()) {
        after_each(&story, alike_builds_start_in_the_order_of_requests)?;
    }

    #[test]
    fn invariant_same_events_give_the_same_actions(story in happenings()) {
        let (mut one, mut other) = (World::new(), World::new());
        for happening in &story {
            one.happen(happening);
            other.happen(happening);
            prop_assert_eq!(&one.actions, &other.actions);
        }
    }

    #[test]
    fn liveness_every_build_ends_once_machines_are_well(story in happenings()) {
        let mut world = World::new();
        for happening in &story {
            world.happen(happening);
        }
        let_all_be_well(&mut world)?;
        let left: Vec<_> = world.wanted().collect();
        prop_assert_eq!(left, []);
    }
}
