//! Which machines could build a derivation, and what becomes of it if none can.

mod advice;
mod recipe;

use std::collections::BTreeMap;
use std::path::Path;

use musher_api::coordinator::{ExplainReply, ExplainRequest, MachineLack};
use musher_coordinator::config::Config;
use musher_scheduler::Needs;
use serde::Serialize;

use self::recipe::Recipe;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;
use crate::ui::{Fields, Table};

/// What can become of a derivation, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DerivationRecord {
    derivation: String,
    system: String,
    /// `requiredSystemFeatures`, and `ca-derivations` where Nix adds it.
    required_features: Vec<String>,
    /// `coordinator`, or `configuration` while that is not running.
    asked: &'static str,
    /// Machines that could build it.
    able: Vec<AbleRecord>,
    lacks: Vec<LackRecord>,
    /// What Nix makes of that.
    outcome: String,
    help: Vec<String>,
}

/// A machine that could build it.
#[derive(Debug, Serialize)]
struct AbleRecord {
    machine: String,
    /// `available`, `away` or `drained`; null while the coordinator is not
    /// running.
    state: Option<String>,
}

/// Why a machine could never build it.
#[derive(Debug, Serialize)]
struct LackRecord {
    machine: String,
    /// One line each.
    lacks: Vec<String>,
}

/// The states of machines, by name.
type States = BTreeMap<String, String>;

/// Tells what can become of the derivation in `file`.
pub(super) fn explain(context: &Context, file: &Path) -> Result<Outcome, Failure> {
    let config = context.fleet()?;
    let recipe = Recipe::read(file, &config.settings.home_store)?;
    let needs = recipe.needs();
    let (asked, reply, states) = match ask(context, &needs)? {
        Some((reply, states)) => ("coordinator", reply, states),
        None => {
            let reply = by_configuration(&config, &needs);
            ("configuration", reply, States::new())
        }
    };
    let is_able = !reply.able.is_empty();
    let record = DerivationRecord {
        derivation: file.display().to_string(),
        system: needs.system.clone(),
        required_features: needs.features.iter().cloned().collect(),
        asked,
        outcome: advice::outcome(&needs, &reply.able),
        help: match is_able {
            true => Vec::new(),
            false => advice::help(&needs, config.machines()),
        },
        able: (reply.able.into_iter())
            .map(|machine| AbleRecord {
                state: states.get(&machine).cloned(),
                machine,
            })
            .collect(),
        lacks: reply.lacks.into_iter().map(LackRecord::from).collect(),
    };
    if context.ui.json {
        context.ui.json(&record)?;
    } else {
        context.ui.text(&text(&record, &needs))?;
    }
    Ok(Outcome::of(is_able))
}

/// Asks the coordinator, if there is one, what the machines could do and how
/// they are.
fn ask(context: &Context, needs: &Needs) -> Result<Option<(ExplainReply, States)>, Failure> {
    let request = ExplainRequest {
        system: needs.system.clone(),
        required_features: needs.features.iter().cloned().collect(),
    };
    let run = &context.places.run;
    block_on(async {
        let mut coordinator = match Coordinator::connect(run).await {
            Ok(coordinator) => coordinator,
            Err(error) if error.is_not_running() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let reply = coordinator.explain(request).await?;
        let status = coordinator.status().await?;
        let machines = status.machines.into_iter();
        let states = machines.map(|m| (m.name, m.state)).collect();
        Ok(Some((reply, states)))
    })
}

/// What the coordinator would say that had just read the configuration.
fn by_configuration(config: &Config, needs: &Needs) -> ExplainReply {
    let mut reply = ExplainReply::default();
    for machine in config.machines() {
        let name = machine.name.to_string();
        let lacks = match machine.driven() {
            Ok(_) => needs.lacks(&machine.spec()),
            Err(error) => {
                reply.lacks.push(MachineLack {
                    machine: name,
                    lacks: vec![error.to_string()],
                });
                continue;
            }
        };
        match lacks.is_empty() {
            true => reply.able.push(name),
            false => reply.lacks.push(MachineLack {
                machine: name,
                lacks: lacks.iter().map(ToString::to_string).collect(),
            }),
        }
    }
    reply
}

impl From<MachineLack> for LackRecord {
    fn from(MachineLack { machine, lacks }: MachineLack) -> Self {
        Self { machine, lacks }
    }
}

fn text(record: &DerivationRecord, needs: &Needs) -> String {
    let mut head = Fields::default();
    head.add("derivation", &record.derivation);
    head.add("needs", needs.to_string());
    head.add("by the", record.asked);

    let mut table = Table::new(&["MACHINE", "CAN BUILD IT", "NOTE"]);
    for AbleRecord { machine, state } in &record.able {
        let state = state.clone().unwrap_or_default();
        table.row([machine.clone(), "yes".to_owned(), state]);
    }
    for LackRecord { machine, lacks } in &record.lacks {
        table.row([machine.clone(), "no".to_owned(), lacks.join(" and ")]);
    }

    let mut end = Fields::default();
    end.add("outcome", &record.outcome);
    if !record.help.is_empty() {
        end.add("help", record.help.join("\n"));
    }
    format!("{}\n{}\n{}", head.render(), table.render(), end.render())
}
