//! What becomes of a derivation, in words.

use std::time::Duration;

use super::record::{
    ExpectedRecord, LackRecord, ObstacleRecord, PlacementRecord, SlotRecord, StateRecord,
    WaitingRecord, WhyRecord,
};
use crate::ui::{Table, quantity, short_name};

/// How many of the builds that come first are named.
const NAMED: usize = 12;

/// The record as text.
pub(super) fn text(record: &WhyRecord) -> String {
    let mut lines = vec![
        record
            .derivation
            .clone()
            .unwrap_or_else(|| "an output of which nobody knows the derivation".to_owned()),
    ];
    let mut tables = Vec::new();
    match &record.state {
        StateRecord::Planned { after } => lines.extend(planned(after)),
        StateRecord::Waiting { for_ms, waiting } => match waiting {
            Some(waiting) => {
                lines.push(waits(*for_ms, waiting));
                tables.extend(machines(waiting));
                lines.extend(never(waiting));
            }
            None => lines.push("waits: its inputs are looked up".to_owned()),
        },
        StateRecord::Running {
            machine,
            for_ms,
            left_ms,
            placement,
        } => {
            lines.push(runs(machine, *for_ms, *left_ms));
            lines.extend(placement.iter().map(there));
            tables.extend(placement.as_ref().and_then(slots));
        }
        StateRecord::Ended {
            machine,
            status,
            duration_ms,
            attempts,
            placement,
            ..
        } => {
            let on = machine.as_ref().map(|machine| format!(" on {machine}"));
            let after = format!(" after {}", millis(*duration_ms));
            let mut line = format!("ended{}: {status}", on.clone().unwrap_or_default());
            if on.is_some() {
                line += &after;
            }
            if *attempts > 1 {
                line += &format!(", in the last of {attempts} attempts");
            }
            lines.push(line);
            lines.extend(placement.iter().map(there));
            tables.extend(placement.as_ref().and_then(slots));
        }
        StateRecord::NotAsked {
            outputs,
            able,
            lacks,
            last,
        } => {
            lines.push("nobody asks for it".to_owned());
            for output in outputs {
                let is = match output.valid {
                    true => "is valid in the home store",
                    false => "is not valid in the home store",
                };
                let path = output
                    .path
                    .as_deref()
                    .unwrap_or("not known before the build");
                lines.push(match &output.name {
                    Some(name) => format!("output {name} {is}: {path}"),
                    None => format!("{path} {is}"),
                });
            }
            match last {
                Some(last) => lines.push(format!(
                    "last {} on {} in {}; `musher history` tells more",
                    last.outcome,
                    last.machine,
                    millis(last.wall_ms)
                )),
                None => lines.push("the history knows nothing of it".to_owned()),
            }
            if !able.is_empty() {
                lines.push(format!("could be built on {}", able.join(", ")));
            }
            lines.extend(lacks.iter().map(lack));
        }
        StateRecord::Unknown => {
            lines.push("is in a state that this `musher` does not know".to_owned());
        }
    }
    if !record.asked_by.is_empty() {
        lines.push(format!("asked for by {}", record.asked_by.join(", ")));
    }
    if let Some(expected) = &record.expected {
        lines.push(cost(expected, record.rank_seconds));
    }
    lines.extend(record.faults.iter().map(|fault| format!("lost {fault}")));
    let mut text = lines.join("\n") + "\n";
    for table in tables {
        text += &format!("\n{table}");
    }
    text
}

fn millis(time: u64) -> String {
    quantity::duration(Duration::from_millis(time))
}

fn seconds(time: f64) -> String {
    quantity::duration(Duration::try_from_secs_f64(time).unwrap_or_default())
}

/// What comes first.
fn planned(after: &[String]) -> Vec<String> {
    let mut lines = vec![match after.len() {
        0 => "planned, and about to be ready".to_owned(),
        1 => "planned, after 1 build:".to_owned(),
        count => format!("planned, after {count} builds:"),
    }];
    let named = after.iter().take(NAMED);
    lines.extend(named.map(|drv| format!("  {}", short_name(drv))));
    if after.len() > NAMED {
        lines.push(format!("  and {} more", after.len() - NAMED));
    }
    lines
}

fn waits(for_ms: u64, waiting: &WaitingRecord) -> String {
    let mut line = format!("waits since {}", millis(for_ms));
    if let Some(limit) = &waiting.limit {
        let (owner, running) = (&limit.owner, limit.running);
        line += &format!(": {owner} may have no more builds running at once than {running}");
    }
    match waiting.ahead {
        0 => {}
        1 => line += "; 1 build is before it",
        100.. => line += "; 100 builds and more are before it",
        ahead => line += &format!("; {ahead} builds are before it"),
    }
    line
}

fn machines(waiting: &WaitingRecord) -> Option<String> {
    let mut table = Table::new(&["MACHINE", "WHY NOT NOW"]);
    let could: Vec<_> = able(waiting).collect();
    for obstacle in &could {
        table.row([obstacle.machine.clone(), obstacle.text.clone()]);
    }
    (!could.is_empty()).then(|| table.render())
}

fn able(waiting: &WaitingRecord) -> impl Iterator<Item = &ObstacleRecord> {
    let obstacles = waiting.machines.iter();
    obstacles.filter(|obstacle| obstacle.reason != "lacks")
}

/// Machines that could never make it, in one line.
fn never(waiting: &WaitingRecord) -> Option<String> {
    let unable = waiting.machines.iter().filter(|it| it.reason == "lacks");
    let unable: Vec<_> = unable
        .map(|it| format!("{} ({})", it.machine, it.text))
        .collect();
    (!unable.is_empty()).then(|| format!("never on {}", unable.join(", ")))
}

fn runs(machine: &str, for_ms: u64, left_ms: i64) -> String {
    let expected = match u64::try_from(left_ms) {
        Ok(left) => format!("expected to end in about {}", millis(left)),
        Err(_) => format!(
            "expected to have ended {} ago",
            millis(left_ms.unsigned_abs())
        ),
    };
    format!("runs on {machine} since {}, {expected}", millis(for_ms))
}

fn there(placement: &PlacementRecord) -> String {
    format!("there because {}", placement.because)
}

/// The slots that were looked at, the one that was chosen first.
fn slots(placement: &PlacementRecord) -> Option<String> {
    let chosen = placement.chosen.as_ref()?;
    let mut table = Table::new(&["SLOT", "FREE", "DONE IN", "MISSING"]);
    let mut row = |slot: &SlotRecord, note: &str| {
        let free = match slot.free_in_ms {
            0 => "at once".to_owned(),
            millis_left => format!("in {}", millis(millis_left)),
        };
        let done = millis(slot.done_in_ms);
        let missing = quantity::size(slot.missing_bytes);
        table.row([format!("{}{note}", slot.machine), free, done, missing]);
    };
    row(chosen, " (chosen)");
    for slot in &placement.others {
        row(slot, "");
    }
    Some(table.render())
}

fn lack(lack: &LackRecord) -> String {
    format!("never on {}: it {}", lack.machine, lack.lacks.join(", "))
}

fn cost(expected: &ExpectedRecord, rank: Option<f64>) -> String {
    let builds = match expected.based_on {
        1 => "1 build".to_owned(),
        count => format!("{count} builds"),
    };
    let basis = match expected.confidence.as_str() {
        "known" => format!("from {builds} of the same derivation"),
        "similar" => format!("from {builds} of the same package"),
        _ => "from builds in general".to_owned(),
    };
    let time = seconds(expected.seconds);
    let mut line = format!("expected to take about {time} at speed 1, {basis}");
    if let Some(rank) = rank.filter(|rank| *rank > expected.seconds + 0.001) {
        line += &format!("; {} with what needs it", seconds(rank));
    }
    line
}
