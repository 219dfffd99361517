//! `musher machine list`

use clap::Args;

use super::record::MachineRecord;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::ui::Table;

/// List the machines of the configuration
///
/// Features that a build must ask for are marked with `!`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

impl ListArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let Self {} = self;
        let config = context.config()?;
        let machines = config.machines();
        if context.ui.json {
            let records: Vec<MachineRecord> = machines.iter().map(Into::into).collect();
            context.ui.json(&records)?;
            return Ok(Outcome::Done);
        }
        if machines.is_empty() {
            let file = context.places.config.path().display();
            context
                .ui
                .note(&format!("no machine is defined in `{file}`"));
            return Ok(Outcome::Done);
        }
        let mut table = Table::new(&[
            "NAME", "CONNECT", "KIND", "SYSTEMS", "JOBS", "SPEED", "FEATURES",
        ]);
        for machine in machines {
            let record = MachineRecord::from(machine);
            table.row([
                record.name.clone(),
                machine.connect.place(),
                record.kind.to_owned(),
                record.systems.join(","),
                record.max_jobs.to_string(),
                record.speed_factor.to_string(),
                features(&record),
            ]);
        }
        context.ui.text(&table.render())?;
        for error in machines
            .iter()
            .filter_map(|machine| machine.ssh_store().err())
        {
            let help = error
                .help()
                .map_or_else(String::new, |help| format!("; {help}"));
            context.ui.note(&format!("{error}{help}"));
        }
        Ok(Outcome::Done)
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
