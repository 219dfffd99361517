//! `musher machine show`

use clap::Args;

use super::lookup::machine;
use super::record::MachineRecord;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Show everything that is configured for one machine
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The machine
    name: String,
}

impl ShowArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = context.fleet()?;
        let record = MachineRecord::new(&config, machine(&config, &self.name)?);
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            context.ui.text(&text(&record))?;
        }
        Ok(Outcome::Done)
    }
}

fn text(record: &MachineRecord) -> String {
    let defined_at = record.defined_at.as_deref();
    let driven = record.not_drivable.as_deref().unwrap_or("yes");
    let lines = [
        ("name", record.name.clone()),
        ("connect", record.connect.clone()),
        ("kind", record.kind.to_owned()),
        ("systems", record.systems.join(" ")),
        ("max-jobs", record.max_jobs.to_string()),
        ("speed-factor", record.speed_factor.to_string()),
        ("supported-features", record.supported_features.join(" ")),
        ("mandatory-features", record.mandatory_features.join(" ")),
        (
            "defined at",
            defined_at
                .unwrap_or("nowhere, it is of the default fleet")
                .to_owned(),
        ),
        ("gets builds", driven.to_owned()),
    ];
    let line = |(label, value): (&str, String)| format!("{label:<20}{value}").trim_end().to_owned();
    lines.map(line).join("\n") + "\n"
}
