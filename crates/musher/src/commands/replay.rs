//! `musher replay`

mod conditions;
mod record;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use musher_scheduler::{LeaseId, Scheduler, Settings};
use musher_sim::chaos::{Tally, week};
use musher_sim::{Arrival, Fleet, Graph, GraphError, Outcome as Played, Policy};

use self::conditions::ConditionArgs;
use self::record::{ReplayRecord, ScheduleRecord};
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::ui::{Table, quantity};

/// Play graphs of builds on machines that need not exist, and show how long it takes
///
/// A graph is JSON: `{"root", "nodes": [{"name", "seconds", "output_bytes", "deps"}]}`,
/// where `deps` are the numbers, from 0, of nodes before this one. Nothing is built:
/// the scheduler decides as it would, and a virtual clock goes on. With several graphs
/// each is a request of its own.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The graphs
    #[arg(value_name = "GRAPH", required_unless_present = "chaos")]
    graphs: Vec<PathBuf>,
    /// When each request comes, in seconds; several for one graph play it several times
    /// [default: all at 0]
    #[arg(long, value_name = "SECONDS", value_delimiter = ',')]
    arrive: Vec<f64>,
    #[command(flatten)]
    conditions: ConditionArgs,
    /// Write where and when each node was built to this file, as JSON
    #[arg(long, value_name = "FILE")]
    schedule: Option<PathBuf>,
    /// Instead of graphs, play the week of faults that follows from this number, and say what
    /// is decided wrongly in it
    #[arg(long, value_name = "SEED", hide = true, conflicts_with_all = ["graphs", "schedule"])]
    chaos: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("cannot read `{}`", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use the graph in `{}`", file.display())]
    Graph { file: PathBuf, source: GraphError },
    #[error("{times} times of arrival are given for {graphs} graphs")]
    Arrivals { times: usize, graphs: usize },
    #[error("a request cannot arrive at {seconds} s")]
    Arrival { seconds: f64 },
    #[error("`--schedule` is for one policy")]
    Schedules,
    #[error("cannot write `{}`", file.display())]
    Write {
        file: PathBuf,
        source: std::io::Error,
    },
}

impl ReplayArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        if let Some(seed) = self.chaos {
            return chaos(context, seed);
        }
        let policies = self.conditions.policies();
        if self.schedule.is_some() && policies.len() > 1 {
            return Err(Failure::user(ReplayError::Schedules));
        }
        let graphs = (self.graphs.iter())
            .map(|file| read(file))
            .collect::<Result<Vec<_>, _>>()?;
        let arrivals = arrivals(&graphs, &self.arrive).map_err(Failure::user)?;
        let fleet = self.conditions.fleet(context)?;
        let mut all = Vec::new();
        for policy in policies {
            let played = self.conditions.play(&arrivals, &fleet, policy);
            if let Some(file) = &self.schedule {
                write(file, &ScheduleRecord::new(&played, &fleet))?;
            }
            if context.ui.json {
                let record = ReplayRecord::new(policy, &played, &fleet);
                context.ui.json_line(&record)?;
            }
            all.push((policy, played));
        }
        if !context.ui.json {
            context.ui.text(&text(&all, &fleet))?;
        }
        Ok(Outcome::Done)
    }
}

fn chaos(context: &Context, seed: u64) -> Result<Outcome, Failure> {
    match week(seed, Scheduler::new(Settings::default(), LeaseId(1))) {
        Ok(tally) => {
            let Tally {
                happenings, built, ..
            } = tally;
            let said = format!("{happenings} happenings, {built} builds, nothing wrong\n");
            context.ui.text(&said)?;
            Ok(Outcome::Done)
        }
        Err(wrong) => {
            context.ui.text(&format!("{wrong}\n"))?;
            Ok(Outcome::Failed)
        }
    }
}

fn read(file: &Path) -> Result<Graph, Failure> {
    let path = || file.to_owned();
    let json = fs::read_to_string(file).map_err(|source| {
        Failure::user(ReplayError::Read {
            file: path(),
            source,
        })
    })?;
    Graph::parse(&json).map_err(|source| {
        Failure::user(ReplayError::Graph {
            file: path(),
            source,
        })
    })
}

fn write(file: &Path, schedule: &ScheduleRecord<'_>) -> Result<(), Failure> {
    let text = serde_json::to_string(schedule).map_err(|e| Failure::output(e.into()))?;
    fs::write(file, text + "\n").map_err(|source| {
        let file = file.to_owned();
        Failure::environment(ReplayError::Write { file, source })
    })
}

/// Each graph with its time; one graph with each of the times.
fn arrivals<'a>(graphs: &'a [Graph], times: &[f64]) -> Result<Vec<Arrival<'a>>, ReplayError> {
    if let Some(&seconds) = times.iter().find(|time| !time.is_finite() || **time < 0.0) {
        return Err(ReplayError::Arrival { seconds });
    }
    let arrival = |(graph, seconds)| Arrival { seconds, graph };
    match (graphs, times) {
        (_, []) => Ok(graphs.iter().map(|graph| arrival((graph, 0.0))).collect()),
        ([graph], times) => Ok(times.iter().map(|time| arrival((graph, *time))).collect()),
        (graphs, times) if graphs.len() == times.len() => Ok(graphs
            .iter()
            .zip(times.iter().copied())
            .map(arrival)
            .collect()),
        (graphs, times) => Err(ReplayError::Arrivals {
            times: times.len(),
            graphs: graphs.len(),
        }),
    }
}

fn text(all: &[(Policy, Played)], fleet: &Fleet) -> String {
    let mut policies = Table::new(&[
        "POLICY",
        "MAKESPAN",
        "LOWER BOUND",
        "RATIO",
        "FOR SLOTS",
        "FOR TRANSFERS",
        "WORST SLOWDOWN",
    ]);
    for (policy, played) in all {
        let slowdowns = played.requests.iter().map(|request| request.slowdown);
        policies.row([
            policy.name().to_owned(),
            seconds(played.makespan),
            seconds(played.lower_bound),
            format!("{:.4}", played.ratio()),
            seconds(played.waiting.slots),
            seconds(played.waiting.transfers),
            format!("{:.2}", slowdowns.fold(0.0, f64::max)),
        ]);
    }
    let mut parts = vec![policies.render()];
    if let [(_, played)] = all {
        parts.push(chain(played));
        parts.push(machines(played, fleet));
        parts.push(requests(played));
    }
    parts.join("\n")
}

/// Where the time went, from the last build backwards.
fn chain(played: &Played) -> String {
    let chain = &played.chain;
    let mut table = Table::new(&["THE LAST TO END", "TOOK"]);
    for (what, took) in [
        ("before it was asked for", chain.arrival),
        ("building, on the fastest machine", chain.building),
        ("longer than that, on slower ones", chain.slower_machines),
        ("waiting for slots", chain.slots),
        ("waiting for transfers", chain.transfers),
        ("waiting for reports", chain.reports),
    ] {
        table.row([what.to_owned(), seconds(took)]);
    }
    table.render()
}

fn machines(played: &Played, fleet: &Fleet) -> String {
    let mut table = Table::new(&["MACHINE", "SPEED", "SLOTS", "BUILDS", "BUSY", "FETCHED"]);
    for (used, machine) in played.machines.iter().zip(&fleet.machines) {
        table.row([
            used.machine.to_string(),
            machine.spec.speed_factor.value().to_string(),
            machine.spec.slots.to_string(),
            used.attempts.to_string(),
            format!("{:.1} %", used.busy * 100.0),
            quantity::size(used.fetched_bytes),
        ]);
    }
    table.render()
}

fn requests(played: &Played) -> String {
    let mut table = Table::new(&["REQUEST", "ARRIVED", "ENDED", "SLOWDOWN"]);
    for request in &played.requests {
        table.row([
            request.root.clone(),
            seconds(request.arrival),
            seconds(request.end),
            format!("{:.2}", request.slowdown),
        ]);
    }
    table.render()
}

/// In one unit, so that rows can be compared.
fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}
