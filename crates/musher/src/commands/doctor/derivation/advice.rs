//! What becomes of a derivation, and what would change that. Words only.

use musher_coordinator::config::Machine;
use musher_scheduler::{Lack, Needs};

/// What Nix makes of the machines that could build it.
pub(super) fn outcome(needs: &Needs, able: &[String]) -> String {
    if let [first, ..] = able {
        return match able.len() {
            1 => format!("it is built by `{first}`; while that is busy or away, it waits"),
            count => {
                format!("it is built by one of {count} machines; while all are busy, it waits")
            }
        };
    }
    format!(
        "no machine could ever build {needs}; so at the hook entrance none of musher's builders \
         fits, Nix declines them all by itself, and with `max-jobs = 0` it ends with an error \
         about the required system or features"
    )
}

/// What would make a machine able.
pub(super) fn help(needs: &Needs, machines: &[Machine]) -> Vec<String> {
    let mut help: Vec<String> = machines
        .iter()
        .filter(|machine| machine.driven().is_ok())
        .filter_map(|machine| match needs.lacks(&machine.spec()).as_slice() {
            [Lack::Features { missing }] => {
                let it = if missing.len() == 1 { "it" } else { "them" };
                let missing: Vec<_> = missing.iter().map(|name| format!("\"{name}\"")).collect();
                Some(format!(
                    "if `{}` has {it}, add {} to its `supported-features`",
                    machine.name,
                    missing.join(", ")
                ))
            }
            [Lack::MandatoryFeatures { .. }] => Some(format!(
                "take what the build does not require out of `mandatory-features` of `{}`",
                machine.name
            )),
            [Lack::Slots] => Some(format!("give `{}` a `max-jobs` above 0", machine.name)),
            _ => None,
        })
        .collect();
    if help.is_empty() {
        help.push(format!("add a machine for {needs}"));
    }
    help.push("after a change, run `musher reload` and `musher setup --write`".to_owned());
    help
}
