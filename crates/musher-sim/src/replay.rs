//! Plays requests on a fleet where nothing fails, from the first arrival to the
//! last end. Knows nothing of what is made of the outcome.

use std::time::Duration;

use musher_scheduler::{OwnerId, RequestId, Timestamp};

use crate::estimates::{Estimates, Estimator};
use crate::fleet::Fleet;
use crate::graph::Graph;
use crate::outcome::Outcome;
use crate::world::{Asked, Breach, Derivation, DerivationId, World};
use crate::{Decider, Policy};

/// A graph that somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// When, in seconds.
    pub seconds: f64,
    /// What. One that comes twice is built twice, as different versions of one
    /// thing would be.
    pub graph: &'a Graph,
}

/// What is played beside the requests.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// On what.
    pub fleet: &'a Fleet,
    /// What is known beforehand of the builds.
    pub estimates: Estimates,
    /// Everything random follows from it.
    pub seed: u64,
    /// How long after the end of an attempt the coordinator hears of it.
    pub report_delay: Duration,
}

/// Plays the requests, each of an owner of its own, and lets `policy` decide.
/// Fails only if it decides what cannot be.
pub fn replay(
    arrivals: &[Arrival<'_>],
    conditions: Conditions<'_>,
    policy: Policy,
) -> Result<Outcome, Breach> {
    let graphs: Vec<&Graph> = arrivals.iter().map(|arrival| arrival.graph).collect();
    let decider = policy.decider(&graphs, conditions.seed);
    replay_with(arrivals, conditions, decider).map(|(outcome, _)| outcome)
}

/// The same with a decider of one's own, which is given back. The nodes of all
/// graphs in order are its builds 0, 1, 2 and so on if the requests come in
/// this order.
pub fn replay_with<D: Decider>(
    arrivals: &[Arrival<'_>],
    conditions: Conditions<'_>,
    decider: D,
) -> Result<(Outcome, D), Breach> {
    let mut world = World::new(decider, conditions.report_delay);
    for machine in &conditions.fleet.machines {
        world.join(machine.spec.clone(), machine.mbit);
    }
    let mut coming = asked(&mut world, arrivals, conditions);
    // The last first, to be taken from the end.
    coming.sort_by_key(|(at, asked)| (*at, asked.request));
    coming.reverse();
    loop {
        if let Some(breach) = world.breaches().first() {
            return Err(breach.clone());
        }
        let arrives = coming.last().map(|(at, _)| *at);
        match (world.next_at(), arrives) {
            (Some(next), Some(at)) if next < at => world.step(),
            (_, Some(at)) => {
                world.wait_until(at);
                if let Some((_, asked)) = coming.pop() {
                    world.ask(asked);
                }
            }
            (Some(_), None) => world.step(),
            (None, None) => break,
        }
    }
    match world.requests().keys().next() {
        Some(&request) => Err(Breach::Stuck { request }),
        None => {
            let outcome = Outcome::of(&world, arrivals, conditions.fleet);
            Ok((outcome, world.into_decider()))
        }
    }
}

/// Adds the nodes of all graphs to the world, numbered through; when each
/// request comes, and what it asks for.
fn asked<D: Decider>(
    world: &mut World<D>,
    arrivals: &[Arrival<'_>],
    conditions: Conditions<'_>,
) -> Vec<(Timestamp, Asked)> {
    let mut estimator = Estimator::new(conditions.estimates, conditions.seed);
    let mut first = 0;
    let mut coming = Vec::new();
    for (arrival, number) in arrivals.iter().zip(1..) {
        let nodes = arrival.graph.nodes();
        let derivations = (nodes.iter())
            .map(|node| {
                world.add(Derivation {
                    seconds: node.seconds,
                    output_bytes: node.output_bytes,
                    needs: conditions.fleet.needs.clone(),
                    deps: node
                        .deps
                        .iter()
                        .map(|dep| DerivationId(first + dep))
                        .collect(),
                    estimate: estimator.estimate(node),
                })
            })
            .collect();
        first += nodes.len();
        let asked = Asked {
            request: RequestId(number),
            owner: OwnerId::from(format!("owner {number}").as_str()),
            priority: 0,
            max_running: None,
            derivations,
        };
        let span = Duration::try_from_secs_f64(arrival.seconds).unwrap_or_default();
        coming.push((Timestamp::from_millis(0) + span, asked));
    }
    coming
}
