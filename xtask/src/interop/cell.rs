//! One cell of the matrix: one client, one builder, one way between them, and
//! every kind of derivation through it.

use std::{
    fmt::{self, Display},
    path::Path,
};

use anyhow::{Context, Result};

use super::attempt::{self, Attempt};
use crate::{
    dispatch::{self, Machine, Scheme},
    hosts::{command::User, suite::Suite, team::Team},
};

const CASES: &str = include_str!("cases.nix");

/// What an ordinary user builds with success, each ended by a derivation that
/// says so.
const SUCCEEDING: [&str; 5] = [
    "input-addressed",
    "fixed-output",
    "multiple-outputs",
    "structured-attributes",
    "floating",
];

/// Whether the builder trusts whom we log in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Trusted,
    Untrusted,
}

/// Which client builds on which builder, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) client: Suite,
    pub(super) builder: Suite,
    pub(super) scheme: Scheme,
    trust: Trust,
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            builder,
            scheme,
            trust,
        } = self;
        let (client, builder, scheme) = (client.name(), builder.name(), scheme.name());
        write!(f, "{client} -> {scheme}://{builder}")?;
        match trust {
            Trust::Trusted => Ok(()),
            Trust::Untrusted => write!(f, " (untrusted)"),
        }
    }
}

impl Cell {
    /// The whole matrix. Nobody builds untrusted by the serve protocol, which
    /// has no way to ask for it.
    pub(super) fn all() -> Vec<Self> {
        let ways = [
            (Scheme::SshNg, Trust::Trusted),
            (Scheme::SshNg, Trust::Untrusted),
            (Scheme::Ssh, Trust::Trusted),
        ];
        let mut cells = Vec::new();
        for client in Suite::ALL {
            for builder in Suite::ALL {
                for (scheme, trust) in ways {
                    cells.push(Self {
                        client,
                        builder,
                        scheme,
                        trust,
                    });
                }
            }
        }
        cells
    }

    /// Whether stock Nix can do it: 2.8 has no word for trust, takes every
    /// builder to trust it and every client to be trusted, and is refused.
    pub(super) fn is_for_stock(&self) -> bool {
        let old = [self.client, self.builder].contains(&Suite::Bookworm);
        !(old && self.trust == Trust::Untrusted)
    }

    /// Builds everything and returns what went wrong, a line or more each. With
    /// a `musher` program through that, else by stock remote building.
    pub(super) fn check(&self, team: &Team, musher: Option<&Path>, nonce: &str) -> Vec<String> {
        let attempt = match self.prepare(team, musher, nonce) {
            Ok(attempt) => attempt,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut outcomes: Vec<(&str, Result<()>)> = SUCCEEDING
            .map(|case| (case, attempt.succeeding(case, User::Alice)))
            .into();
        outcomes.push(("rooted", attempt.succeeding("rooted", User::Root)));
        outcomes.push(("attributed", attempt.attributed("attributed")));
        outcomes.push(("failing", attempt.failing("failing")));
        outcomes.push(("the store", attempt.verify()));
        if musher.is_some() {
            outcomes.push(("musher daemon", attempt.daemon_runs()));
        }
        outcomes
            .into_iter()
            .filter_map(|(what, outcome)| Some(format!("{what}: {:#}", outcome.err()?)))
            .collect()
    }

    fn prepare<'a>(
        &self,
        team: &'a Team,
        musher: Option<&Path>,
        nonce: &'a str,
    ) -> Result<Attempt<'a>> {
        let client = &team.client;
        let builder = team
            .builders
            .iter()
            .find(|host| host.suite() == self.builder)
            .context("the team has no builder of that suite")?;
        let machine = Machine {
            scheme: self.scheme,
            user: match self.trust {
                Trust::Trusted => User::Root,
                Trust::Untrusted => User::Build,
            },
            ..Machine::new(&builder.destination(), 2)
        };
        match musher {
            Some(program) => dispatch::use_musher(client, program, &[machine])?,
            None => dispatch::use_stock(client, &[machine])?,
        }
        client.write(attempt::FILE, CASES)?;
        Ok(Attempt {
            client,
            builder,
            nonce,
            // Stock Nix does not look at the result of a builder that does not
            // trust it, and finds its output missing afterwards.
            tells_status: musher.is_some() || self.trust == Trust::Trusted,
        })
    }
}
