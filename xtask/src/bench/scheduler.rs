//! `cargo xtask bench scheduler`: what a decision costs, with many derivations
//! and many machines. Knows nothing of what is decided.

use std::{
    fmt::Write as _,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use musher_scheduler::{
    Action, BuildId, Confidence, Estimate, Event, Input, LeaseId, Needs, OwnerId, PlannedBuild,
    RequestId, Scheduler, Settings, Timestamp,
};
use musher_sim::{
    Arrival, Conditions, Decider, Estimates, Fleet, Graph, Node, Random, replay_with,
};

use crate::{cargo, run, ui};

/// Of each machine.
const SLOTS: usize = 8;

/// How many rows of builds a graph has, each needing some of the row before.
const ROWS: usize = 50;

/// How many builds are planned in one event where memory is measured.
const PIECE: usize = 1000;

const SEED: u64 = 1;

/// Measure what a decision of the scheduler costs with many derivations and machines
#[derive(Args)]
pub(crate) struct SchedulerArgs {
    /// How many derivations; each is measured by itself
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    derivations: Vec<usize>,
    /// How many machines, of eight slots each
    #[arg(long, default_value_t = 1000)]
    machines: usize,
    /// As it was compiled, however that is
    #[arg(long)]
    here: bool,
}

/// Measures in a process of its own that is compiled to be fast.
pub(super) fn run(args: &SchedulerArgs) -> Result<()> {
    if !args.here {
        let derivations: Vec<String> = args.derivations.iter().map(usize::to_string).collect();
        let mut again: Command = cargo::command(&["run", "--release", "-p", "xtask", "--"]);
        again
            .args(["bench", "scheduler", "--here", "--derivations"])
            .arg(derivations.join(","))
            .args(["--machines", &args.machines.to_string()]);
        return run::visible(&mut again);
    }
    let fleet = fleet(args.machines)?;
    let mut table = String::from(
        "| derivations | machines | decisions | median | p99 | longest | start to plan | memory a derivation |\n\
         |---|---|---|---|---|---|---|---|",
    );
    for &derivations in &args.derivations {
        let graph = graph(derivations)?;
        let bytes = memory(&graph, &fleet)?;
        let mut taken = play(&graph, &fleet)?;
        let _ = write!(
            table,
            "\n| {derivations} | {} | {} | {:.1} µs | {:.1} µs | {:.1} ms | {:.2} s | {bytes} B |",
            args.machines,
            taken.all.len(),
            micros(taken.hundredths(50)),
            micros(taken.hundredths(99)),
            micros(taken.hundredths(100)) / 1e3,
            taken.first.as_secs_f64(),
        );
    }
    ui::data(table);
    Ok(())
}

/// Machines of four speeds.
fn fleet(machines: usize) -> Result<Fleet> {
    let speeds = ["1.0", "1.0", "0.7", "0.5"];
    let written: Vec<String> = (speeds.iter().cycle().take(machines))
        .map(|speed| format!("{speed}x{SLOTS}@1000"))
        .collect();
    Ok(Fleet::parse(&written.join(","), None)?)
}

/// Rows of builds, each of which needs up to four of the row before.
fn graph(derivations: usize) -> Result<Graph> {
    let mut random = Random::new(SEED, "graph");
    let row = derivations.div_ceil(ROWS);
    let nodes = (0..derivations)
        .map(|at| {
            let first = (at / row * row).saturating_sub(row);
            let deps = match at / row {
                0 => vec![],
                _ => (0..4).map(|_| first + random.below(row)).collect(),
            };
            Node {
                name: format!("node-{at}"),
                // From a second to five minutes, mostly short.
                seconds: (random.unit() * 5.7).exp(),
                output_bytes: random.bits() % 50_000_000,
                deps,
            }
        })
        .collect();
    Ok(Graph::new("rows".to_owned(), nodes)?)
}

/// How long decisions took.
struct Taken {
    all: Vec<Duration>,
    /// Those at the beginning together, until every machine has its first
    /// builds.
    first: Duration,
}

impl Taken {
    /// What so many hundredths of all took no longer than.
    fn hundredths(&mut self, hundredths: usize) -> Duration {
        self.all.sort_unstable();
        let last = self.all.len().saturating_sub(1);
        let at = self.all.len() * hundredths / 100;
        self.all.get(at.min(last)).copied().unwrap_or_default()
    }
}

/// A scheduler beside a stop-watch.
struct Timed {
    scheduler: Scheduler,
    taken: Taken,
}

impl Decider for Timed {
    fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let started = Instant::now();
        let actions = self.scheduler.handle(now, event);
        let taken = started.elapsed();
        self.taken.all.push(taken);
        if now == Timestamp::from_millis(0) {
            self.taken.first += taken;
        }
        actions
    }

    fn review_at(&self) -> Option<Timestamp> {
        self.scheduler.review_at()
    }
}

fn play(graph: &Graph, fleet: &Fleet) -> Result<Taken> {
    let timed = Timed {
        scheduler: scheduler(),
        taken: Taken {
            all: Vec::new(),
            first: Duration::ZERO,
        },
    };
    let conditions = Conditions {
        fleet,
        estimates: Estimates::Noisy,
        seed: SEED,
        report_delay: Duration::ZERO,
    };
    let seconds = 0.0;
    let (_, timed) = replay_with(&[Arrival { seconds, graph }], conditions, timed)?;
    Ok(timed.taken)
}

fn scheduler() -> Scheduler {
    Scheduler::new(Settings::default(), LeaseId(1))
}

/// Bytes that this process has more for each derivation once all are planned and
/// those of the first row are requested.
fn memory(graph: &Graph, fleet: &Fleet) -> Result<usize> {
    let mut scheduler = scheduler();
    let now = Timestamp::from_millis(0);
    let before = resident()?;
    for machine in &fleet.machines {
        let spec = machine.spec.clone();
        scheduler.handle(now, Event::MachineConfigured { spec });
    }
    let request = RequestId(1);
    let owner = OwnerId::from("bench");
    let opened = Event::RequestOpened {
        request,
        owner,
        priority: 0,
        max_running: None,
    };
    scheduler.handle(now, opened);
    let nodes: Vec<(BuildId, &Node)> = (0..).map(BuildId).zip(graph.nodes()).collect();
    for piece in nodes.chunks(PIECE) {
        let builds = (piece.iter())
            .map(|(build, node)| PlannedBuild {
                build: *build,
                needs: fleet.needs.clone(),
                after: node.deps.iter().map(|dep| BuildId(*dep as u64)).collect(),
                estimate: estimate(node),
            })
            .collect();
        scheduler.handle(now, Event::BuildsPlanned { request, builds });
    }
    for (build, node) in nodes.iter().filter(|(_, node)| node.deps.is_empty()) {
        let requested = Event::BuildRequested {
            request: Some(request),
            build: *build,
            needs: Needs::clone(&fleet.needs),
            inputs: Vec::<Input>::new(),
            estimate: estimate(node),
        };
        scheduler.handle(now, requested);
    }
    let more = resident()?.saturating_sub(before);
    Ok(more / graph.nodes().len())
}

fn estimate(node: &Node) -> Estimate {
    Estimate {
        seconds: node.seconds,
        confidence: Confidence::Similar,
        peak_memory: None,
        output_bytes: Some(node.output_bytes),
    }
}

/// Bytes of memory that this process has.
fn resident() -> Result<usize> {
    let text = fs::read_to_string("/proc/self/statm").context("cannot read `/proc/self/statm`")?;
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<usize>().ok());
    let pages = pages.context("`/proc/self/statm` does not say how much memory there is")?;
    Ok(pages * rustix::param::page_size())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
