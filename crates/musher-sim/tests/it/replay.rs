//! Small graphs on small fleets, where what comes of it can be worked out by
//! hand.

use std::time::Duration;

use musher_sim::{Arrival, Conditions, Estimates, Fleet, Graph, Node, Outcome, Policy, replay};

/// A graph; each node is a name, seconds, output bytes, and what it depends on.
fn graph(nodes: &[(&str, f64, u64, &[usize])]) -> Graph {
    let nodes = (nodes.iter())
        .map(|(name, seconds, output_bytes, deps)| Node {
            name: (*name).to_owned(),
            seconds: *seconds,
            output_bytes: *output_bytes,
            deps: deps.to_vec(),
        })
        .collect();
    Graph::new("root".to_owned(), nodes).unwrap()
}

fn play(arrivals: &[(f64, &Graph)], fleet: &str, policy: Policy, report_delay: u64) -> Outcome {
    let arrivals: Vec<_> = (arrivals.iter())
        .map(|(seconds, graph)| Arrival {
            seconds: *seconds,
            graph,
        })
        .collect();
    let conditions = Conditions {
        fleet: &Fleet::parse(fleet, None).unwrap(),
        estimates: Estimates::Exact,
        seed: 1,
        report_delay: Duration::from_millis(report_delay),
    };
    replay(&arrivals, conditions, policy).unwrap()
}

/// `node@machine start-end`, as they ended.
fn story(outcome: &Outcome) -> Vec<String> {
    (outcome.attempts.iter())
        .map(|a| format!("{}@{} {}-{}", a.node, a.machine, a.start, a.end))
        .collect()
}

#[test]
fn a_chain_takes_its_length_under_every_policy() {
    let chain = graph(&[
        ("a", 10.0, 0, &[]),
        ("b", 20.0, 0, &[0]),
        ("c", 5.0, 0, &[1]),
    ]);
    for policy in Policy::ALL {
        let outcome = play(&[(0.0, &chain)], "1.0x2,1.0x1", policy, 0);
        assert_eq!(outcome.makespan, 35.0, "{}", policy.name());
        assert_eq!(outcome.lower_bound, 35.0);
        assert_eq!(outcome.ratio(), 1.0);
        assert_eq!(outcome.chain.building, 35.0);
        assert_eq!(outcome.requests[0].slowdown, 1.0);
    }
}

#[test]
fn a_machine_of_half_the_speed_takes_twice_as_long() {
    let one = graph(&[("a", 10.0, 0, &[])]);
    let outcome = play(&[(0.0, &one)], "0.5x1", Policy::Musher, 0);
    assert_eq!(story(&outcome), ["0@m1 0-20"]);
    assert_eq!(outcome.lower_bound, 20.0);
    assert_eq!(outcome.machines[0].busy, 1.0);
}

#[test]
fn slots_are_waited_for() {
    let four = graph(&[("a", 10.0, 0, &[][..]); 4]);
    for policy in Policy::ALL {
        let outcome = play(&[(0.0, &four)], "1.0x2", policy, 0);
        assert_eq!(outcome.makespan, 20.0);
        assert_eq!(outcome.waiting.slots, 20.0);
        assert_eq!(outcome.waiting.dependencies, 0.0);
    }
}

#[test]
fn stock_goes_by_the_alphabet_and_depth_by_steps() {
    let graph = graph(&[("a", 1.0, 0, &[]), ("z", 1.0, 0, &[]), ("y", 1.0, 0, &[1])]);
    let stock = play(&[(0.0, &graph)], "1.0x1", Policy::Stock, 0);
    assert_eq!(story(&stock), ["0@m1 0-1", "1@m1 1-2", "2@m1 2-3"]);
    // The first is placed before the others are known to be ready.
    let depth = play(&[(0.0, &graph)], "1.0x2", Policy::Depth, 0);
    assert_eq!(story(&depth), ["0@m1 0-1", "1@m1 0-1", "2@m1 1-2"]);
}

#[test]
fn a_link_carries_one_thing_after_another() {
    // 1 Mbyte at 8 Mbit/s takes a second.
    let graph = graph(&[
        ("a", 10.0, 1_000_000, &[]),
        ("b", 10.0, 2_000_000, &[]),
        ("c", 1.0, 0, &[0, 1]),
    ]);
    let outcome = play(&[(0.0, &graph)], "1.0x1@8,1.0x1@8", Policy::Stock, 0);
    // What was built on the machine itself is not fetched.
    assert_eq!(story(&outcome), ["0@m1 0-10", "1@m2 0-10", "2@m1 12-13"]);
    assert_eq!(outcome.waiting.transfers, 2.0);
    assert_eq!(outcome.chain.transfers, 2.0);
    assert_eq!(outcome.machines[0].fetched_bytes, 2_000_000);
    assert_eq!(outcome.machines[1].fetched_bytes, 0);
}

#[test]
fn what_was_fetched_once_is_there_for_others() {
    let graph = graph(&[
        ("a", 1.0, 1_000_000, &[]),
        ("b", 5.0, 0, &[0]),
        ("c", 5.0, 0, &[0]),
        ("d", 5.0, 0, &[0]),
    ]);
    let outcome = play(&[(0.0, &graph)], "1.0x1@8,0.9x2@8", Policy::Random, 0);
    assert_eq!(outcome.machines[1].attempts, 2);
    assert_eq!(outcome.machines[1].fetched_bytes, 1_000_000);
}

#[test]
fn a_late_report_delays_what_depends_on_it() {
    let chain = graph(&[("a", 10.0, 0, &[]), ("b", 10.0, 0, &[0])]);
    let outcome = play(&[(0.0, &chain)], "1.0x1", Policy::Musher, 500);
    assert_eq!(story(&outcome), ["0@m1 0-10", "1@m1 10.5-20.5"]);
    assert_eq!(outcome.makespan, 21.0);
    assert_eq!(outcome.chain.reports, 0.5);
}

#[test]
fn requests_come_when_they_come_and_share() {
    let work = graph(&[("a", 10.0, 0, &[][..]); 4]);
    let alone = play(&[(5.0, &work)], "1.0x2", Policy::Musher, 0);
    assert_eq!((alone.makespan, alone.lower_bound), (25.0, 25.0));
    assert_eq!(alone.chain.arrival, 5.0);
    assert_eq!(alone.requests[0].slowdown, 1.0);

    let two = play(&[(0.0, &work), (20.0, &work)], "1.0x2", Policy::Musher, 0);
    assert_eq!((two.makespan, two.lower_bound), (40.0, 40.0));
    let ends: Vec<_> = two.requests.iter().map(|r| (r.end, r.slowdown)).collect();
    assert_eq!(ends, [(20.0, 1.0), (40.0, 1.0)]);

    let both = play(&[(0.0, &work), (0.0, &work)], "1.0x2", Policy::Stock, 0);
    assert_eq!((both.makespan, both.lower_bound), (40.0, 40.0));
    assert!(both.requests.iter().all(|r| r.slowdown <= 1.0));
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let graph = graph(&[
        ("a", 3.0, 9, &[]),
        ("b", 7.0, 9, &[]),
        ("c", 4.0, 9, &[0]),
        ("d", 2.0, 9, &[0, 1]),
    ]);
    for policy in Policy::ALL {
        let one = play(&[(0.0, &graph)], "1.0x1@1,0.5x1@1", policy, 3);
        let other = play(&[(0.0, &graph)], "1.0x1@1,0.5x1@1", policy, 3);
        assert_eq!(one, other);
    }
}
