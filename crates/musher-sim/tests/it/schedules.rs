//! Real graphs, and schedules of them that a program verifies which knows
//! nothing of ours. Both lie beside this repository; where they do not, these
//! tests say so and pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use musher_sim::{Arrival, Conditions, Estimates, Fleet, Graph, Outcome, Policy, replay};
use serde_json::json;
use tempfile::TempDir;

/// What is beside this repository, or what is missing there.
#[expect(clippy::print_stderr, reason = "what was skipped must be said")]
fn beside(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(name);
    let is_there = path.is_file();
    if !is_there {
        eprintln!("skipped: there is no `{}`", path.display());
    }
    is_there.then_some(path)
}

/// Machines of four speeds that share the slots.
fn fleet(slots: u32, mbit: Option<f64>) -> Fleet {
    let each = slots / 4;
    Fleet::parse(
        &format!("1.0x{each},1.0x{each},0.7x{each},0.5x{each}"),
        mbit,
    )
    .unwrap()
}

fn play(graph: &Graph, fleet: &Fleet, policy: Policy) -> Outcome {
    let conditions = Conditions {
        fleet,
        estimates: Estimates::Noisy,
        seed: 1,
        report_delay: Duration::ZERO,
    };
    let seconds = 0.0;
    replay(&[Arrival { seconds, graph }], conditions, policy).unwrap()
}

/// What the verifier makes of a schedule: whether it holds, and what it says.
fn verify(graph: &Path, fleet: &Fleet, outcome: &Outcome) -> Option<(bool, String)> {
    let verifier = beside("tools/check-schedule.py")?;
    let machines: Vec<_> = (fleet.machines.iter())
        .map(|machine| {
            json!({
                "name": machine.spec.id.as_str(),
                "speed": machine.spec.speed_factor.value(),
                "slots": machine.spec.slots,
                "mbit": machine.mbit.unwrap_or_default(),
            })
        })
        .collect();
    let attempts: Vec<_> = (outcome.attempts.iter())
        .map(|attempt| {
            json!({
                "node": attempt.node,
                "machine": attempt.machine.as_str(),
                "start_s": attempt.start,
                "end_s": attempt.end,
            })
        })
        .collect();
    let dir = TempDir::new().unwrap();
    let schedule = dir.path().join("schedule.json");
    let text = json!({ "machines": machines, "attempts": attempts }).to_string();
    fs::write(&schedule, text).unwrap();
    let said = Command::new("python3")
        .args([&verifier, graph, &schedule])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    Some((said.status.success(), text))
}

/// What the makespan may be beside the bound.
fn most(slots: u32, mbit: Option<f64>) -> f64 {
    match (slots, mbit) {
        (8, None) => 1.15,
        (_, None) => 1.03,
        (8, Some(_)) => 1.20,
        (_, Some(_)) => 1.08,
    }
}

/// Plays a graph at 8 to 64 slots, without links and with such of 1 Gbit/s.
#[track_caller]
fn check(name: &str) {
    let Some(file) = beside(&format!("dags/{name}.json")) else {
        return;
    };
    let graph = Graph::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    for mbit in [None, Some(1000.0)] {
        for slots in [8, 16, 32, 64] {
            let fleet = fleet(slots, mbit);
            let outcome = play(&graph, &fleet, Policy::Musher);
            let Some((holds, said)) = verify(&file, &fleet, &outcome) else {
                return;
            };
            let which = format!("{name} at {slots} slots, {mbit:?} Mbit/s");
            assert!(holds, "{which}: {said}");
            // Its words: makespan, bound and ratio are what we make of it.
            let ours = format!(
                "makespan {:.1} s, lower bound {:.1} s, ratio {:.4}, 0 breaches\n",
                outcome.makespan,
                outcome.lower_bound,
                outcome.ratio()
            );
            assert_eq!(said, ours, "{which}");
            let most = most(slots, mbit);
            assert!(outcome.ratio() <= most, "{which}: above {most}, {said}");
        }
    }
}

#[test]
fn schedules_of_hello_hold() {
    check("hello");
}

#[test]
fn schedules_of_icecat_hold() {
    check("icecat");
}

#[test]
fn schedules_of_libreoffice_hold() {
    check("libreoffice");
}

#[test]
fn schedules_of_every_policy_hold() {
    let Some(file) = beside("dags/hello.json") else {
        return;
    };
    let graph = Graph::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    for policy in Policy::ALL {
        let fleet = fleet(8, Some(100.0));
        let outcome = play(&graph, &fleet, policy);
        let Some((holds, said)) = verify(&file, &fleet, &outcome) else {
            return;
        };
        assert!(holds, "{}: {said}", policy.name());
    }
}

#[test]
fn the_verifier_finds_what_is_wrong() {
    let Some(file) = beside("dags/hello.json") else {
        return;
    };
    let graph = Graph::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    let fleet = fleet(8, None);
    let mut outcome = play(&graph, &fleet, Policy::Musher);
    outcome.attempts.pop();
    if let Some((holds, said)) = verify(&file, &fleet, &outcome) {
        assert!(!holds && said.contains("is never built"), "{said}");
    }
}
