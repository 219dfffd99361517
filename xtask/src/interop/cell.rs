//! One cell of the matrix: one client, one builder, one way between them, and
//! every kind of derivation through it.

use std::{
    fmt::{self, Display},
    path::Path,
};

use anyhow::{Context, Result, bail};

use super::{
    attempt::{self, Attempt},
    bare,
};
use crate::{
    dispatch::{self, Kind, Machine, Scheme},
    hosts::{command::User, host::Host, suite::Suite, team::Team},
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

/// What builds, and through what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builder {
    /// Stock Nix, through Musher on the client.
    Nix(Suite),
    /// Musher's worker on a host without Nix, through Musher on the client.
    Worker,
    /// Musher on a host without Nix, through nothing but the client's Nix.
    Remote,
}

impl Builder {
    /// Whether the host has no Nix.
    pub(super) fn is_bare(self) -> bool {
        match self {
            Self::Nix(_) => false,
            Self::Worker | Self::Remote => true,
        }
    }

    /// The name of the host.
    fn host(self) -> &'static str {
        match self {
            Self::Nix(suite) => suite.name(),
            Self::Worker | Self::Remote => BARE,
        }
    }
}

/// The name of the host without Nix.
pub(crate) const BARE: &str = "bare";

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
    pub(super) builder: Builder,
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
        let (client, scheme) = (client.name(), scheme.name());
        write!(f, "{client} -> {scheme}://{}", builder.host())?;
        match builder {
            Builder::Nix(_) => {}
            Builder::Worker => write!(f, ", a worker")?,
            Builder::Remote => write!(f, ", a remote")?,
        }
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
            let cell = |builder, (scheme, trust)| Self {
                client,
                builder,
                scheme,
                trust,
            };
            let builders = Suite::ALL.map(Builder::Nix).into_iter();
            for builder in builders.chain([Builder::Remote]) {
                cells.extend(ways.map(|way| cell(builder, way)));
            }
            cells.push(cell(Builder::Worker, (Scheme::Ssh, Trust::Trusted)));
        }
        cells.retain(|cell| cell.builder != Builder::Remote || cell.is_for_stock());
        cells
    }

    /// Whether stock Nix can do it: 2.8 has no word for trust, takes every
    /// builder to trust it and every client to be trusted, and is refused.
    pub(super) fn is_for_stock(&self) -> bool {
        let old = self.client == Suite::Bookworm || self.builder == Builder::Nix(Suite::Bookworm);
        !(old && self.trust == Trust::Untrusted) && self.builder != Builder::Worker
    }

    /// Whether it is about the Nix of trixie, which is neither old nor new.
    pub(super) fn is_between(&self) -> bool {
        self.client == Suite::Trixie || self.builder == Builder::Nix(Suite::Trixie)
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
        if musher.is_some() && self.builder != Builder::Remote {
            outcomes.push(("musher daemon", attempt.daemon_runs()));
        }
        if self.builder == Builder::Remote && self.client == Suite::Sid {
            let agree = bare::agree(attempt.builder, attempt.client);
            outcomes.push(("path infos", agree));
        }
        if self.builder.is_bare() {
            outcomes.push(("the builder's stores", attempt.verify_bare(team)));
        }
        let mut problems: Vec<String> = outcomes
            .into_iter()
            .filter_map(|(what, outcome)| Some(format!("{what}: {:#}", outcome.err()?)))
            .collect();
        if !problems.is_empty() && musher.is_some() {
            problems.push(format!("the coordinator said\n{}", self.log(&attempt)));
        }
        problems
    }

    /// What the coordinator of the cell has printed.
    fn log(&self, attempt: &Attempt<'_>) -> String {
        match self.builder {
            Builder::Nix(_) | Builder::Worker => attempt.client.service_log("musher"),
            Builder::Remote => attempt.builder.read(bare::LOG).unwrap_or_default(),
        }
    }

    fn prepare<'a>(
        &self,
        team: &'a Team,
        musher: Option<&Path>,
        nonce: &'a str,
    ) -> Result<Attempt<'a>> {
        let client = &team.client;
        let builder = host(team, self.builder.host())?;
        let trusted = self.trust == Trust::Trusted;
        let mut machine = Machine {
            scheme: self.scheme,
            user: match self.trust {
                Trust::Trusted => User::Root,
                Trust::Untrusted => User::Build,
            },
            ..Machine::new(&builder.destination(), 2)
        };
        let mut store = "";
        match (self.builder, musher) {
            (Builder::Nix(_), None) => dispatch::use_stock(client, &[machine])?,
            (Builder::Nix(_), Some(program)) => dispatch::use_musher(client, program, &[machine])?,
            (Builder::Worker, Some(program)) => {
                bare::drive(builder, program)?;
                machine.kind = Kind::Musher;
                machine.user = User::Build;
                store = bare::DRIVEN;
                dispatch::use_musher(client, program, &[machine])?;
            }
            (Builder::Remote, Some(program)) => {
                bare::serve(builder, program, trusted)?;
                machine.user = User::Build;
                store = bare::OWN;
                dispatch::stop_musher(client)?;
                dispatch::use_stock(client, &[machine])?;
            }
            (Builder::Worker | Builder::Remote, None) => bail!("there is no Nix"),
        }
        client.write(attempt::FILE, CASES)?;
        let through_musher = musher.is_some() && self.builder != Builder::Remote;
        Ok(Attempt {
            client,
            builder,
            store,
            nonce,
            // Stock Nix does not look at the result of a builder that does not
            // trust it, and finds its output missing afterwards.
            tells_status: through_musher || trusted,
        })
    }
}

impl Attempt<'_> {
    /// Whether the stores that Musher filled on the builder are sound.
    fn verify_bare(&self, team: &Team) -> Result<()> {
        // It would start a worker again that is ended.
        dispatch::stop_musher(self.client)?;
        bare::verify(self.builder, host(team, Suite::Sid.name())?)
    }
}

fn host<'a>(team: &'a Team, name: &str) -> Result<&'a Host> {
    let found = team.builders.iter().find(|host| host.name() == name);
    found.with_context(|| format!("the team has no host `{name}`"))
}
