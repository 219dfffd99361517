//! Which crate may depend on which, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cargo::{Dependency, Metadata, Node};

/// The crates in the order of the design's table: each may depend on those
/// before it.
const ORDER: [&str; 10] = [
    "musher-protocol",
    "musher-scheduler",
    "musher-api",
    "musher-store",
    "musher-sandbox",
    "musher-worker",
    "musher-serve",
    "musher-coordinator",
    "musher-sim",
    "musher",
];

/// Crates that take everything they need as arguments.
pub(super) const PURE: [&str; 3] = ["musher-protocol", "musher-scheduler", "musher-sim"];

/// What no pure crate has below it: runtimes and system calls.
const IMPURE: [&str; 4] = ["tokio", "mio", "rustix", "nix"];

/// The breaches, one line each.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let graph = Graph::of(metadata);
    let members: Vec<&str> = metadata
        .workspace_members
        .iter()
        .map(|id| graph.name(id))
        .collect();
    let mut breaches = Vec::new();
    for &member in members.iter().filter(|member| member.starts_with("musher")) {
        if !ORDER.contains(&member) {
            breaches.push(format!(
                "crate `{member}` has no place in the order of crates"
            ));
        }
    }
    for (position, &name) in ORDER.iter().enumerate() {
        let Some(id) = graph.id(name) else { continue };
        for dependency in graph.direct(id) {
            let rank = ORDER.iter().position(|other| *other == dependency);
            if rank.is_some_and(|rank| rank >= position) {
                breaches.push(format!(
                    "crate `{name}` depends on `{dependency}`, which comes after it"
                ));
            }
        }
    }
    for name in PURE {
        let Some(id) = graph.id(name) else { continue };
        let below = graph.below(id);
        for impure in IMPURE.iter().filter(|impure| below.contains(*impure)) {
            breaches.push(format!("pure crate `{name}` has `{impure}` below it"));
        }
    }
    breaches
}

/// The resolved dependencies, by package id.
struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    nodes: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Graph<'a> {
    fn of(metadata: &'a Metadata) -> Self {
        Self {
            names: metadata
                .packages
                .iter()
                .map(|p| (p.id.as_str(), p.name.as_str()))
                .collect(),
            nodes: metadata
                .resolve
                .nodes
                .iter()
                .map(|node| (node.id.as_str(), node))
                .collect(),
        }
    }

    fn name(&self, id: &str) -> &'a str {
        self.names.get(id).copied().unwrap_or_default()
    }

    fn id(&self, name: &str) -> Option<&'a str> {
        self.names
            .iter()
            .find(|(_, other)| **other == name)
            .map(|(id, _)| *id)
    }

    fn dependencies(&self, id: &str) -> impl Iterator<Item = &'a Dependency> + use<'a> {
        self.nodes
            .get(id)
            .map_or(&[][..], |node| node.deps.as_slice())
            .iter()
    }

    /// Names of what a crate depends on itself, whatever for.
    fn direct(&self, id: &str) -> Vec<&'a str> {
        self.dependencies(id)
            .map(|dependency| self.name(&dependency.pkg))
            .collect()
    }

    /// Names of everything that is compiled into a crate.
    fn below(&self, id: &'a str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![id];
        while let Some(next) = ahead.pop() {
            for dependency in self
                .dependencies(next)
                .filter(|dependency| is_normal(dependency))
            {
                if seen.insert(dependency.pkg.as_str()) {
                    ahead.push(&dependency.pkg);
                }
            }
        }
        seen.into_iter().map(|id| self.name(id)).collect()
    }
}

fn is_normal(dependency: &Dependency) -> bool {
    dependency.dep_kinds.iter().any(|kind| kind.kind.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is `crate: dependency, dependency [dev]`.
    fn breaches(lines: &str) -> Vec<String> {
        let lines: Vec<(&str, &str)> = lines
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .collect();
        let names = lines.iter().map(|(name, _)| *name);
        let packages: Vec<_> = names
            .clone()
            .map(|name| serde_json::json!({ "id": name, "name": name }))
            .collect();
        let nodes: Vec<_> = lines
            .iter()
            .map(|(name, list)| {
                let dependencies = list
                    .split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty());
                let dependencies: Vec<_> = dependencies
                    .map(|word| match word.strip_suffix(" [dev]") {
                        Some(word) => {
                            serde_json::json!({ "pkg": word, "dep_kinds": [{ "kind": "dev" }] })
                        }
                        None => serde_json::json!({ "pkg": word, "dep_kinds": [{ "kind": null }] }),
                    })
                    .collect();
                serde_json::json!({ "id": name, "deps": dependencies })
            })
            .collect();
        let metadata = serde_json::json!({
            "packages": packages,
            "workspace_members": names.filter(|name| name.starts_with("musher")).collect::<Vec<_>>(),
            "resolve": { "nodes": nodes },
            "workspace_root": "",
        });
        check(&serde_json::from_value(metadata).expect("metadata"))
    }

    #[test]
    fn crates_may_use_those_before_them() {
        assert_eq!(
            breaches("musher-protocol:\n musher-store: musher-protocol, tokio\n tokio:"),
            [""; 0]
        );
    }

    #[test]
    fn a_crate_that_uses_a_later_one_is_found() {
        assert_eq!(
            breaches("musher-store: musher-serve\n musher-serve:"),
            ["crate `musher-store` depends on `musher-serve`, which comes after it"]
        );
    }

    #[test]
    fn a_runtime_below_a_pure_crate_is_found_however_deep() {
        assert_eq!(
            breaches("musher-scheduler: helper\n helper: tokio\n tokio:"),
            ["pure crate `musher-scheduler` has `tokio` below it"]
        );
    }

    #[test]
    fn tests_of_a_pure_crate_may_use_a_runtime() {
        assert_eq!(
            breaches("musher-scheduler: tokio [dev]\n tokio: mio\n mio:"),
            [""; 0]
        );
    }

    #[test]
    fn a_crate_outside_the_order_is_found() {
        assert_eq!(
            breaches("musher-extra:"),
            ["crate `musher-extra` has no place in the order of crates"]
        );
    }
}
