//! The cases, as derivations on a host.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::hosts::{command::User, host::Host};

/// Where the expressions lie on the host. Files that they import keep their
/// names, which store paths are made of.
const PLACE: &str = "/root/compare";

const FILES: [(&str, &str); 9] = [
    ("cases.nix", include_str!("cases.nix")),
    ("environment.nix", include_str!("environment.nix")),
    ("facts.nix", include_str!("facts.nix")),
    ("attributes.nix", include_str!("attributes.nix")),
    ("outputs.nix", include_str!("outputs.nix")),
    ("content.nix", include_str!("content.nix")),
    ("checks.nix", include_str!("checks.nix")),
    ("builtins.nix", include_str!("builtins.nix")),
    ("failures.nix", include_str!("failures.nix")),
];

/// How a case is built; by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Manner {
    /// Once, without limits.
    Plain,
    /// With a time to be done in.
    Timeout,
    /// With a time to say something in.
    Silence,
    /// With a length of its log.
    Log,
    /// Twice, to see whether that gives the same.
    Twice,
}

impl Manner {
    /// Every manner.
    pub(super) const ALL: [Self; 5] = [
        Self::Plain,
        Self::Timeout,
        Self::Silence,
        Self::Log,
        Self::Twice,
    ];

    /// Seconds that a build may take, or be silent, where that is limited.
    pub(super) const SECONDS: u64 = 3;
    /// Bytes that a log may have, where that is limited.
    pub(super) const BYTES: u64 = 1000;

    fn of(case: &str) -> Self {
        match case {
            "limited-timeout" => Self::Timeout,
            "limited-silence" => Self::Silence,
            "limited-log" => Self::Log,
            _ if case.starts_with("twice-") => Self::Twice,
            _ => Self::Plain,
        }
    }
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    /// Its derivation, absolute.
    pub(super) derivation: String,
    /// How it is built.
    pub(super) manner: Manner,
    /// Its derivation with those it needs, each after its own.
    pub(super) closure: Vec<String>,
}

/// The cases, by name.
#[derive(Debug)]
pub(super) struct Plan(pub(super) BTreeMap<String, Case>);

impl Plan {
    /// Instantiates the cases on `host`, those whose names contain `only`.
    pub(super) fn make(host: &Host, only: Option<&str>) -> Result<Self> {
        for (name, text) in FILES {
            host.write(&format!("{PLACE}/{name}"), text)?;
        }
        let script = format!(
            "nix-instantiate --eval --strict --json --read-write-mode \
             -E 'builtins.mapAttrs (name: case: case.drvPath) (import {PLACE}/cases.nix {{ }})'"
        );
        let derivations = host.sh(User::Root, &script)?;
        let derivations: BTreeMap<String, String> =
            serde_json::from_str(&derivations).context("cannot understand the cases")?;
        let mut cases = BTreeMap::new();
        for (name, derivation) in derivations {
            if only.is_some_and(|only| !name.contains(only)) {
                continue;
            }
            // Each after what it needs, as Nix sorts them.
            let closure = host.sh(
                User::Root,
                &format!("nix-store --query --requisites {derivation}"),
            )?;
            let closure = closure.lines().filter(|path| path.ends_with(".drv"));
            let case = Case {
                closure: closure.map(str::to_owned).collect(),
                manner: Manner::of(&name),
                derivation,
            };
            cases.insert(name, case);
        }
        ensure!(!cases.is_empty(), "there is no such case");
        Ok(Self(cases))
    }

    /// The derivations of all cases built in `manner`, with those they need,
    /// each after its own.
    pub(super) fn derivations(&self, manner: Manner) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for case in self.0.values().filter(|case| case.manner == manner) {
            for derivation in &case.closure {
                if !all.contains(&derivation.as_str()) {
                    all.push(derivation);
                }
            }
        }
        all
    }
}
