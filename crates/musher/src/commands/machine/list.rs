//! `musher machine list`

use std::collections::BTreeMap;

use clap::Args;
use musher_coordinator::config::Machine;
use serde::Serialize;

use super::lookup::note_default;
use super::record::MachineRecord;
use crate::commands::status::LiveRecord;
use crate::context::Context;
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;
use crate::ui::Table;

/// List the machines of the configuration, and how they are if the coordinator runs
///
/// Where none is configured, two workers on this machine are the default fleet.
/// Features that a build must ask for are marked with `!`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

/// A machine in JSON.
#[derive(Debug, Serialize)]
struct ListRecord {
    #[serde(flatten)]
    machine: MachineRecord,
    /// How it is; null where no coordinator knows it.
    live: Option<LiveRecord>,
}

/// How the machines are, by name; none without a coordinator.
type Fleet = Option<BTreeMap<String, LiveRecord>>;

impl ListArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let Self {} = self;
        let config = context.fleet()?;
        let machines = config.machines();
        let mut fleet = fleet(context);
        let records: Vec<ListRecord> = machines
            .iter()
            .map(|machine| ListRecord {
                machine: MachineRecord::new(&config, machine),
                live: fleet
                    .as_mut()
                    .and_then(|fleet| fleet.remove(machine.name.as_str())),
            })
            .collect();
        if context.ui.json {
            context.ui.json(&records)?;
            return Ok(Outcome::Done);
        }
        let text = table(machines, &records, fleet.is_some()).render();
        context.ui.text(&text)?;
        note_default(context, &config);
        notes(context, machines, &records, fleet);
        Ok(Outcome::Done)
    }
}

/// Asks the coordinator, if there is one. The configuration is worth showing
/// without it.
fn fleet(context: &Context) -> Fleet {
    let asked = block_on(async {
        let run = &context.places.run;
        Ok(async { Coordinator::connect(run).await?.status().await }.await)
    });
    match asked {
        Ok(Ok(status)) => {
            let live = status.machines.into_iter();
            Some(live.map(|m| (m.name.clone(), m.into())).collect())
        }
        Ok(Err(CoordinatorError::NotRunning { .. })) => None,
        Ok(Err(error)) => {
            context.ui.note(&error.to_string());
            None
        }
        Err(_) => None,
    }
}

fn table(machines: &[Machine], records: &[ListRecord], is_live: bool) -> Table {
    let mut headings = vec!["NAME", "CONNECT", "KIND", "SYSTEMS", "JOBS", "SPEED"];
    if is_live {
        headings.extend(["STATE", "RUNNING"]);
    }
    headings.push("FEATURES");
    let mut table = Table::new(&headings);
    for (
        machine,
        ListRecord {
            machine: record,
            live,
        },
    ) in machines.iter().zip(records)
    {
        let mut row = vec![
            record.name.clone(),
            machine.connect.place(),
            record.kind.to_owned(),
            record.systems.join(","),
            record.max_jobs.to_string(),
            record.speed_factor.to_string(),
        ];
        if is_live {
            let running = |live: &LiveRecord| format!("{}/{}", live.running, live.slots);
            row.extend([
                live.as_ref()
                    .map_or_else(|| "not loaded".to_owned(), |live| live.state.clone()),
                live.as_ref().map(running).unwrap_or_default(),
            ]);
        }
        row.push(features(record));
        table.row(row);
    }
    table
}

fn notes(context: &Context, machines: &[Machine], records: &[ListRecord], fleet: Fleet) {
    let undrivable = machines.iter().filter_map(|m| m.driven().err());
    for error in undrivable {
        let help = error
            .help()
            .map_or_else(String::new, |help| format!("; {help}"));
        context.ui.note(&format!("{error}{help}"));
    }
    for ListRecord { machine, live } in records {
        if let Some(reason) = live.as_ref().and_then(|live| live.reason.as_ref()) {
            let name = &machine.name;
            context.ui.note(&format!("`{name}` is away: {reason}"));
        }
    }
    let Some(gone) = fleet else { return };
    for name in gone.keys() {
        context.ui.note(&format!(
            "the coordinator still has `{name}`; `musher reload` makes it read the configuration"
        ));
    }
    if records.iter().any(|record| record.live.is_none()) {
        context
            .ui
            .note("the coordinator does not know every machine; `musher reload` tells it");
    }
}

fn features(record: &MachineRecord) -> String {
    let mandatory = record
        .mandatory_features
        .iter()
        .map(|name| format!("{name}!"));
    let supported = record.supported_features.iter().cloned();
    mandatory.chain(supported).collect::<Vec<_>>().join(",")
}
