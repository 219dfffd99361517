//! Derivations in the home store of a test.

use super::{Team, info, path};

/// The text of `NAME.drv`, which makes `NAME` of the outputs of `inputs`.
pub(crate) fn derivation_text(name: &str, inputs: &[&str]) -> String {
    let out = path(name).to_absolute_path();
    let inputs: Vec<_> = (inputs.iter())
        .map(|input| {
            let drv = path(&format!("{input}.drv")).to_absolute_path();
            format!("(\"{drv}\",[\"out\"])")
        })
        .collect();
    let inputs = inputs.join(",");
    format!(
        "Derive([(\"out\",\"{out}\",\"\",\"\")],[{inputs}],[],\"x86_64-linux\",\"/bin/sh\",[],\
         [(\"out\",\"{out}\")])"
    )
}

/// Adds derivations, `NAME < INPUT…; …`, to the team's home store.
pub(crate) fn add_graph(team: &Team, graph: &str) {
    for line in graph.split(';') {
        let (name, inputs) = line.split_once('<').unwrap_or((line, ""));
        let inputs: Vec<_> = inputs.split_whitespace().collect();
        let drvs: Vec<_> = inputs.iter().map(|input| format!("{input}.drv")).collect();
        let references: Vec<_> = drvs.iter().map(String::as_str).collect();
        let drv = info(&format!("{}.drv", name.trim()), &references);
        team.home.add(drv, &derivation_text(name.trim(), &inputs));
    }
}
