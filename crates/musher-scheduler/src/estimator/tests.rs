//! What holds of every series of observations, and what follows from some.

use std::collections::BTreeMap;

use nix_derivation::StorePath;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Bounds, BuildKind, Estimator, Observation, Observed, Subject};
use crate::{Confidence, Estimate, MachineId, SpeedFactor};

const SYSTEM: &str = "x86_64-linux";

/// The derivation `NAME.drv` with a digest of this number.
fn drv(name: &str, number: u8) -> StorePath {
    StorePath::from_parts([number; 20], &format!("{name}.drv")).unwrap()
}

/// `drv` was built on `machine` in so many seconds.
fn built(drv: &StorePath, machine: &str, seconds: f64, ended: u64) -> Observation {
    Observation {
        drv: drv.clone(),
        system: SYSTEM.to_owned(),
        kind: BuildKind::Ordinary,
        machine: machine.into(),
        outcome: Observed::Built,
        seconds,
        peak_memory: None,
        output_bytes: None,
        ended,
    }
}

fn ask(estimator: &Estimator, name: &str, drv: Option<&StorePath>) -> Estimate {
    estimator.estimate(&Subject {
        name,
        drv,
        system: SYSTEM,
        kind: BuildKind::Ordinary,
    })
}

fn configured(factors: &[(&str, f64)]) -> Estimator {
    let mut estimator = Estimator::default();
    for (machine, factor) in factors {
        let factor = SpeedFactor::new(*factor).unwrap();
        estimator.configure(&MachineId::from(*machine), factor);
    }
    estimator
}

#[track_caller]
fn close(found: f64, expected: f64, within: f64) {
    let is_close = (found / expected).ln().abs() <= within.ln();
    assert!(is_close, "{found} instead of {expected}");
}

#[test]
fn what_is_nearest_counts() {
    let mut estimator = Estimator::default();
    let (old, new) = (drv("app-1.0", 1), drv("app-1.1", 2));
    estimator.learn(&built(&old, "b1", 100.0, 1));
    let other = drv("app-1.2", 3);
    let seen = ask(&estimator, "app-1.0", Some(&old));
    assert_eq!((seen.seconds, seen.confidence), (100.0, Confidence::Known));
    let seen = ask(&estimator, "app-1.2", Some(&other));
    assert_eq!(
        (seen.seconds, seen.confidence),
        (100.0, Confidence::Similar)
    );
    estimator.learn(&built(&new, "b1", 300.0, 2));
    let seen = ask(&estimator, "app-1.0", Some(&old));
    assert_eq!((seen.seconds, seen.confidence), (100.0, Confidence::Known));
    // The newer weighs more.
    let seen = ask(&estimator, "app", None);
    assert_eq!(
        (seen.seconds, seen.confidence),
        (300.0, Confidence::Similar)
    );
    let seen = ask(&estimator, "tool-1.0", None);
    assert_eq!(seen, Estimate::UNKNOWN);
}

#[test]
fn one_time_that_is_far_off_does_not_count() {
    let mut estimator = Estimator::default();
    let app = drv("app-1.0", 1);
    for (ended, seconds) in [100.0, 110.0, 90_000.0].into_iter().enumerate() {
        estimator.learn(&built(&app, "b1", seconds, ended as u64));
    }
    close(ask(&estimator, "app-1.0", Some(&app)).seconds, 105.0, 1.1);
}

#[test]
fn the_order_in_which_they_ended_counts_not_that_of_learning() {
    let app = drv("app-1.0", 1);
    let times = [(5, 500.0), (1, 10.0), (4, 400.0), (2, 20.0), (3, 30.0)];
    let mut in_order = times;
    in_order.sort_by_key(|(ended, _)| *ended);
    let estimate = |times: &[(u64, f64)]| {
        let mut estimator = Estimator::default();
        for (ended, seconds) in times {
            estimator.learn(&built(&app, "b1", *seconds, *ended));
        }
        ask(&estimator, "app-1.0", Some(&app))
    };
    assert_eq!(estimate(&times), estimate(&in_order));
}

#[test]
fn memory_that_was_not_enough_is_known_to_be_too_little() {
    let mut estimator = Estimator::default();
    let app = drv("app-1.0", 1);
    let killed = |peak_memory| Observation {
        outcome: Observed::OutOfMemory,
        peak_memory,
        ..built(&app, "b1", 3.0, 1)
    };
    estimator.learn(&killed(None));
    assert_eq!(ask(&estimator, "app-1.0", Some(&app)), Estimate::UNKNOWN);
    estimator.learn(&killed(Some(1000)));
    let seen = ask(&estimator, "app-1.0", Some(&app));
    // Of how long it takes nothing was learnt.
    assert_eq!(seen.seconds, Estimate::UNKNOWN.seconds);
    assert_eq!(seen.peak_memory, Some(1500));
    estimator.learn(&Observation {
        peak_memory: Some(1200),
        output_bytes: Some(77),
        ..built(&app, "b2", 50.0, 2)
    });
    let seen = ask(&estimator, "app-1.0", Some(&app));
    assert_eq!((seen.seconds, seen.peak_memory), (50.0, Some(1500)));
    assert_eq!(seen.output_bytes, Some(77));
}

#[test]
fn a_machine_is_as_fast_as_what_it_built_beside_others_says() {
    // `b2` takes twice as long for everything, give or take a quarter, and now
    // and then ten times.
    let mut estimator = configured(&[("b1", 1.0), ("b2", 1.0)]);
    for number in 0..40 {
        let app = drv(&format!("app{number}-1"), number);
        let noise = 1.0 + 0.25 * (f64::from(number) * 2.4).sin();
        let seconds = 10.0 + f64::from(number);
        estimator.learn(&built(&app, "b1", seconds, u64::from(number)));
        let slow = if number % 10 == 0 { 20.0 } else { 2.0 };
        estimator.learn(&built(
            &app,
            "b2",
            seconds * slow * noise,
            u64::from(number),
        ));
    }
    let speed = |machine: &str| estimator.speed(&machine.into()).unwrap().value();
    close(speed("b1") / speed("b2"), 2.0, 1.15);
    // Neither is known to be the one that is as it is configured.
    close(speed("b1") * speed("b2"), 1.0, 1.15);
    assert_eq!(estimator.speed(&"b3".into()), None);
    // A time on the slow machine says what the fast one will take.
    estimator.learn(&built(&drv("tool-1", 99), "b2", 200.0, 99));
    let seen = ask(&estimator, "tool-1", None);
    let fast = estimator.speed(&"b1".into()).unwrap().value();
    close(seen.seconds / fast, 100.0, 1.15);
}

#[test]
fn few_comparisons_say_little() {
    let mut estimator = configured(&[("b1", 1.0), ("b2", 2.0)]);
    let app = drv("app-1", 1);
    estimator.learn(&built(&app, "b1", 10.0, 1));
    estimator.learn(&built(&app, "b2", 160.0, 2));
    let speed = |machine: &str| estimator.speed(&machine.into()).unwrap().value();
    assert!((1.0..=2.0).contains(&speed("b1")), "{}", speed("b1"));
    assert!((1.0..=2.0).contains(&speed("b2")), "{}", speed("b2"));
}

#[test]
fn short_builds_and_downloads_say_nothing_of_a_machine() {
    let mut estimator = configured(&[("b1", 1.0), ("b2", 1.0)]);
    let app = drv("app-1", 1);
    estimator.learn(&built(&app, "b1", 1.0, 1));
    estimator.learn(&built(&app, "b2", 100.0, 2));
    for (machine, seconds) in [("b1", 10.0), ("b2", 100.0)] {
        estimator.learn(&Observation {
            kind: BuildKind::FixedOutput,
            ..built(&drv("source", 2), machine, seconds, 3)
        });
    }
    assert_eq!(estimator.speeds().count(), 0);
}

#[test]
fn speeds_are_told_when_they_change_and_again_when_configured() {
    let mut estimator = configured(&[("b1", 1.0), ("b2", 1.0)]);
    let build = |estimator: &mut Estimator, number: u8| {
        let app = drv(&format!("app{number}-1"), number);
        estimator.learn(&built(&app, "b1", 10.0, u64::from(number)));
        estimator.learn(&built(&app, "b2", 20.0, u64::from(number)));
    };
    assert_eq!(estimator.changed_speeds(), []);
    for number in 0..20 {
        build(&mut estimator, number);
    }
    let told = estimator.changed_speeds();
    assert_eq!(told.len(), 2);
    build(&mut estimator, 21);
    assert_eq!(estimator.changed_speeds(), []);
    estimator.configure(&"b1".into(), SpeedFactor::ONE);
    let again = estimator.changed_speeds();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].0, "b1".into());
}

fn observation() -> impl Strategy<Value = Observation> {
    let seconds = prop_oneof![
        6 => 0.0..1e5f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
        1 => Just(f64::MAX),
    ];
    let outcome = prop_oneof![4 => Just(Observed::Built), 1 => Just(Observed::OutOfMemory)];
    let kind = prop_oneof![
        Just(BuildKind::Ordinary),
        Just(BuildKind::FixedOutput),
        Just(BuildKind::Builtin),
        Just(BuildKind::Trivial),
    ];
    let memory = prop_oneof![Just(None), any::<u64>().prop_map(Some)];
    (
        (0..6u8, 0..4u8, 0..3usize, 0..4usize),
        (seconds, outcome, kind, memory, 0..50u64),
    )
        .prop_map(|((name, number, system, machine), rest)| {
            let (seconds, outcome, kind, peak_memory, ended) = rest;
            Observation {
                drv: drv(&format!("p{name}-{number}"), number),
                system: ["a", "b", SYSTEM][system].to_owned(),
                kind,
                machine: ["b1", "b2", "b3", "b4"][machine].into(),
                outcome,
                seconds,
                peak_memory,
                output_bytes: None,
                ended,
            }
        })
}

fn learnt(observations: &[Observation], bounds: Bounds) -> Estimator {
    let mut estimator = Estimator::with_bounds(bounds);
    estimator.configure(&"b2".into(), SpeedFactor::new(0.5).unwrap());
    for observation in observations {
        estimator.learn(observation);
    }
    estimator
}

const ROOMY: Bounds = Bounds {
    packages: 1000,
    samples: 10_000,
};

proptest! {
    #[test]
    fn every_estimate_is_a_time_within_what_was_seen(
        observations in vec(observation(), 0..80),
    ) {
        let estimator = learnt(&observations, ROOMY);
        let mut seen: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
        for observation in &observations {
            let is_time = observation.seconds.is_finite() && observation.seconds >= 0.0;
            if observation.outcome == Observed::Built && is_time {
                let package = super::package_name(observation.drv.name());
                let entry = seen.entry((&observation.system, package));
                let (low, high) = entry.or_insert((f64::INFINITY, 0.0));
                // A speed is at most four times off what is configured.
                *low = low.min(observation.seconds / 8.0);
                *high = high.max(observation.seconds * 4.0);
            }
        }
        for observation in &observations {
            let estimate = estimator.estimate(&Subject {
                name: observation.drv.name(),
                drv: Some(&observation.drv),
                system: &observation.system,
                kind: observation.kind,
            });
            prop_assert!(estimate.seconds.is_finite() && estimate.seconds >= 0.0);
            let package = super::package_name(observation.drv.name());
            if let Some((low, high)) = seen.get(&(observation.system.as_str(), package)) {
                prop_assert!(estimate.confidence > Confidence::Guess);
                let low = low.min(super::LONGEST / 8.0);
                prop_assert!((low..=*high).contains(&estimate.seconds));
            } else {
                prop_assert_eq!(estimate.confidence, Confidence::Guess);
            }
        }
    }

    #[test]
    fn speeds_stay_near_what_is_configured(observations in vec(observation(), 0..200)) {
        let estimator = learnt(&observations, ROOMY);
        for (machine, factor, compared) in estimator.speeds() {
            let configured = if machine.as_str() == "b2" { 0.5 } else { 1.0 };
            let ratio = factor.value() / configured;
            prop_assert!((0.249..=4.001).contains(&ratio), "{machine}: {ratio}");
            prop_assert!((1..=64).contains(&compared));
        }
    }

    #[test]
    fn no_more_is_remembered_than_is_allowed(
        observations in vec(observation(), 0..200),
        packages in 1..8usize,
        samples in 20..40usize,
    ) {
        let estimator = learnt(&observations, Bounds { packages, samples });
        let all = || estimator.packages.values().flat_map(BTreeMap::values);
        prop_assert!(all().count() <= packages);
        prop_assert_eq!(all().count(), estimator.by_age.len());
        prop_assert!(estimator.samples <= samples);
        prop_assert_eq!(all().map(super::Package::len).sum::<usize>(), estimator.samples);
    }

    #[test]
    fn the_same_observations_give_the_same_estimates(
        observations in vec(observation(), 0..80),
    ) {
        let (one, other) = (learnt(&observations, ROOMY), learnt(&observations, ROOMY));
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
}
