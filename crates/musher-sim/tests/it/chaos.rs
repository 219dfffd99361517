//! Weeks in which everything goes wrong that can: nothing may come of it that
//! must not be, and a fault planted in the scheduler must be found.

use musher_sim::chaos::{Tally, Wrong, week};
use musher_sim::world::Breach;

use super::saboteur::{Fault, Saboteur};

#[track_caller]
fn check(seed: u64) -> Tally {
    match week(seed, Saboteur::new(Fault::Nothing)) {
        Ok(tally) => tally,
        Err(wrong) => panic!("{wrong}; `musher replay --chaos {seed}` plays it again"),
    }
}

/// The first thing that is found wrong with a planted fault, under any of a few
/// seeds.
#[track_caller]
fn found(fault: Fault) -> Wrong {
    let mut found = (1..4).filter_map(|seed| week(seed, Saboteur::new(fault)).err());
    let Some(wrong) = found.next() else {
        panic!("nothing was found wrong with {fault:?}");
    };
    wrong
}

#[test]
fn invariant_a_week_of_faults_breaks_no_rule() {
    let tally = check(1);
    // Enough of everything happened for the rules to mean something.
    assert!(tally.happenings > 20_000, "{tally:?}");
    assert!(tally.built > 5_000, "{tally:?}");
    assert!(tally.wanted > 50, "{tally:?}");
    assert!(tally.requests_built > 500, "{tally:?}");
    assert!(tally.requests_failed > 50, "{tally:?}");
    assert!(tally.requests_withdrawn > 50, "{tally:?}");
}

#[test]
fn other_weeks_break_no_rule() {
    for seed in 2..5 {
        check(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_week() {
    assert_eq!(check(5), check(5));
    assert_ne!(check(5), check(6));
}

#[test]
fn a_dropped_cancel_is_found() {
    let wrong = found(Fault::DeafToCancels);
    let is_it = matches!(
        wrong.breach,
        Breach::NotCancelled { .. } | Breach::Lost { .. } | Breach::NotWaiting { .. }
    );
    assert!(is_it, "{wrong}");
    let wrong = found(Fault::CancelsDropped);
    let is_it = matches!(wrong.breach, Breach::NotCancelled { .. });
    assert!(is_it, "{wrong}");
}

#[test]
fn a_lease_that_is_not_checked_is_found() {
    let wrong = found(Fault::LeaseNotChecked);
    let is_it = matches!(
        wrong.breach,
        Breach::NotWaiting { .. } | Breach::Lost { .. } | Breach::Closed { .. }
    );
    assert!(is_it, "{wrong}");
}

#[test]
fn swapped_events_are_found() {
    found(Fault::EventsSwapped);
}

#[test]
fn a_reason_of_another_time_is_found() {
    let wrong = found(Fault::StaleReasons);
    assert!(matches!(wrong.breach, Breach::Untrue { .. }), "{wrong}");
}

#[test]
fn a_forgotten_fault_is_found() {
    let wrong = found(Fault::FaultsForgotten);
    assert!(matches!(wrong.breach, Breach::Lost { .. }), "{wrong}");
}

#[test]
fn a_build_that_runs_twice_is_found() {
    let wrong = found(Fault::BuiltTwice);
    assert!(matches!(wrong.breach, Breach::NotWaiting { .. }), "{wrong}");
}

#[test]
fn a_build_that_is_lost_is_found() {
    let wrong = found(Fault::SomeLeftWaiting);
    assert!(matches!(wrong.breach, Breach::Lost { .. }), "{wrong}");
}
