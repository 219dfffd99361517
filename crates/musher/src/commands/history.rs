//! `musher history`

mod export;
pub(super) mod record;

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use musher_api::coordinator as api;
use musher_coordinator::config::Machine;
use musher_coordinator::history::{HistoryError, read};

use self::record::{AttemptRecord, HistoryRecord};
use crate::context::Context;
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;
use crate::ui::{Table, quantity};

/// Show what builds took, what they are expected to take, and how fast machines are
///
/// Of a package the newest attempts are shown, and what another build of it is
/// expected to cost; without a name the builds that took longest, and the requests
/// whose graphs can be exported. Expected times are those of a machine whose speed
/// factor is 1. The history is the running coordinator's, or what the last one kept.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HistoryArgs {
    /// A package (`hello`), a version of it (`hello-2.12.1`), or a derivation's path
    name: Option<String>,
    /// How many attempts to show, 20 if nothing else is said
    #[arg(
        long,
        short = 'n',
        value_name = "NUMBER",
        default_value = "20",
        hide_default_value = true
    )]
    most: u32,
    #[command(subcommand)]
    command: Option<HistoryCommand>,
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    Export(export::ExportArgs),
}

impl HistoryArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        if let Some(HistoryCommand::Export(args)) = self.command {
            return args.run(context);
        }
        let request = api::HistoryRequest {
            name: self.name.clone().unwrap_or_default(),
            // 0 would be the coordinator's choice.
            most: self.most.max(1),
        };
        let record = HistoryRecord::from(known(context, &request)?);
        let is_known = self.name.is_none() || !record.attempts.is_empty();
        if context.ui.json {
            context.ui.json(&record)?;
        } else if is_known {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map(|now| now.as_secs()).unwrap_or_default();
            context.ui.text(&text(&record, self.name.is_some(), now))?;
        }
        if let (false, Some(name)) = (is_known, &self.name) {
            context
                .ui
                .note(&format!("the history knows nothing of `{name}`"));
        }
        Ok(Outcome::of(is_known))
    }
}

/// What the coordinator answers, or where none runs what was kept.
fn known(context: &Context, request: &api::HistoryRequest) -> Result<api::HistoryReply, Failure> {
    let run = &context.places.run;
    let asked = request.clone();
    let answer = block_on(async {
        Ok(async { Coordinator::connect(run).await?.history(asked).await }.await)
    })?;
    match answer {
        Ok(reply) => Ok(reply),
        Err(CoordinatorError::NotRunning { .. }) => {
            let config = context.fleet()?;
            let specs: Vec<_> = config.machines().iter().map(Machine::spec).collect();
            Ok(read(&context.places.state, &specs, request)?)
        }
        Err(error) => Err(error.into()),
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let help = error.help();
        Self::of(error.is_absence(), error).help(help)
    }
}

/// The record at the time `now`, in seconds since 1970.
fn text(record: &HistoryRecord, is_named: bool, now: u64) -> String {
    let since = |then: u64| quantity::age(now.saturating_sub(then));
    let millis = |time: u64| quantity::duration(Duration::from_millis(time));
    let size = |bytes: Option<u64>| bytes.map(quantity::size).unwrap_or_default();
    let mut parts = Vec::new();
    let headings = match is_named {
        true => "ATTEMPT",
        false => "LONGEST",
    };
    let mut table = Table::new(&[
        headings, "SYSTEM", "MACHINE", "OUTCOME", "RAN", "CPU", "MEMORY", "OUTPUT", "AGO",
    ]);
    let row = |attempt: &AttemptRecord| {
        [
            attempt.name.clone(),
            attempt.system.clone(),
            attempt.machine.clone(),
            attempt.outcome.clone(),
            millis(attempt.wall_ms),
            attempt.cpu_ms.map(millis).unwrap_or_default(),
            size(attempt.peak_memory_bytes),
            size(attempt.output_bytes),
            since(attempt.started),
        ]
    };
    for attempt in &record.attempts {
        table.row(row(attempt));
    }
    parts.push(match record.attempts.is_empty() {
        true => "nothing was built yet\n".to_owned(),
        false => table.render(),
    });
    if !record.estimates.is_empty() {
        let mut table = Table::new(&["EXPECTED", "TIME", "KNOWN FROM", "MEMORY", "OUTPUT"]);
        for estimate in &record.estimates {
            let basis = match estimate.confidence.as_str() {
                "known" => "the same derivation",
                "similar" => "the same package",
                _ => "builds in general",
            };
            table.row([
                estimate.system.clone(),
                quantity::duration(
                    Duration::try_from_secs_f64(estimate.seconds).unwrap_or_default(),
                ),
                basis.to_owned(),
                size(estimate.peak_memory_bytes),
                size(estimate.output_bytes),
            ]);
        }
        parts.push(table.render());
    }
    if !record.speeds.is_empty() {
        let mut table = Table::new(&["MACHINE", "SPEED", "COMPARISONS"]);
        for speed in &record.speeds {
            table.row([
                speed.machine.clone(),
                format!("{:.2}", speed.factor),
                speed.comparisons.to_string(),
            ]);
        }
        parts.push(table.render());
    }
    if !record.requests.is_empty() {
        let mut table = Table::new(&["REQUEST", "FOR", "BUILDS", "AGO"]);
        for request in &record.requests {
            table.row([
                request.id.to_string(),
                request.root.clone(),
                request.builds.to_string(),
                since(request.ended),
            ]);
        }
        parts.push(table.render());
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn reply() -> api::HistoryReply {
        let attempt = api::PastAttempt {
            drv: "aaaa-hello-2.12.1.drv".to_owned(),
            name: "hello-2.12.1".to_owned(),
            package: "hello".to_owned(),
            system: "x86_64-linux".to_owned(),
            machine: "b1".to_owned(),
            outcome: "built".to_owned(),
            started: 400,
            wall_ms: 12_340,
            took_ms: 12_800,
            cpu_ms: Some(40_000),
            peak_memory_bytes: Some(300 << 20),
            sent_bytes: 1000,
            output_bytes: Some(200 << 10),
        };
        let lost = api::PastAttempt {
            machine: "b2".to_owned(),
            outcome: "lost".to_owned(),
            cpu_ms: None,
            peak_memory_bytes: None,
            output_bytes: None,
            ..attempt.clone()
        };
        api::HistoryReply {
            attempts: vec![attempt, lost],
            estimates: vec![api::BuildEstimate {
                system: "x86_64-linux".to_owned(),
                seconds: 12.34,
                confidence: "similar".to_owned(),
                peak_memory_bytes: Some(300 << 20),
                output_bytes: None,
            }],
            speeds: vec![api::MachineSpeed {
                machine: "b1".to_owned(),
                factor: 1.234,
                comparisons: 7,
            }],
            requests: vec![api::PastRequest {
                id: 3,
                root: "aaaa-hello-2.12.1.drv".to_owned(),
                ended: 940,
                builds: 12,
            }],
        }
    }

    #[test]
    fn what_is_known_has_tables() {
        expect![[r#"
            ATTEMPT       SYSTEM        MACHINE  OUTCOME  RAN     CPU     MEMORY   OUTPUT   AGO
            hello-2.12.1  x86_64-linux  b1       built    12.3 s  40.0 s  300 MiB  200 KiB  10 min
            hello-2.12.1  x86_64-linux  b2       lost     12.3 s  -       -        -        10 min

            EXPECTED      TIME    KNOWN FROM        MEMORY   OUTPUT
            x86_64-linux  12.3 s  the same package  300 MiB  -

            MACHINE  SPEED  COMPARISONS
            b1       1.23   7

            REQUEST  FOR                    BUILDS  AGO
            3        aaaa-hello-2.12.1.drv  12      1 min
        "#]]
        .assert_eq(&text(&HistoryRecord::from(reply()), true, 1000));
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let nothing = HistoryRecord::from(api::HistoryReply::default());
        assert_eq!(text(&nothing, false, 0), "nothing was built yet\n");
    }
}
