//! One cell of the matrix: one client, one builder, one way between them, and
//! every kind of derivation through it.

use std::{
    fmt::{self, Display},
    path::Path,
    process::Output,
};

use anyhow::{Context, Result};

use crate::{
    dispatch::{self, Machine, Scheme},
    hosts::{command::User, host::Host, suite::Suite, team::Team},
    run,
};

const CASES: &str = include_str!("cases.nix");

/// Where the expression lies on the client.
const FILE: &str = "/etc/interop.nix";

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

    /// Builds everything and returns what went wrong. With a `musher` program
    /// through that, else by stock remote building.
    pub(super) fn check(
        &self,
        team: &Team,
        musher: Option<&Path>,
        nonce: &str,
    ) -> Result<Vec<String>> {
        let client = &team.client;
        let builder = team
            .builders
            .iter()
            .find(|host| host.suite() == self.builder)
            .context("the team has a builder of each suite")?;
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
        client.write(FILE, CASES)?;
        let attempt = Attempt {
            client,
            builder,
            nonce,
            // Stock Nix does not look at the result of a builder that does not
            // trust it, and finds its output missing afterwards.
            tells_status: musher.is_some() || self.trust == Trust::Trusted,
        };
        let mut problems = Vec::new();
        for case in SUCCEEDING {
            problems.extend(
                attempt
                    .succeeding(case)?
                    .map(|problem| format!("{case}: {problem}")),
            );
        }
        problems.extend(
            attempt
                .failing()?
                .map(|problem| format!("failing: {problem}")),
        );
        problems.extend(attempt.verify()?.map(|problem| format!("store: {problem}")));
        Ok(problems)
    }
}

/// What every case of a cell needs.
struct Attempt<'a> {
    client: &'a Host,
    builder: &'a Host,
    nonce: &'a str,
    tells_status: bool,
}

impl Attempt<'_> {
    /// Builds a case that is to succeed. `None` if all is as it should be.
    fn succeeding(&self, case: &str) -> Result<Option<String>> {
        let built = self.nix_build(case)?;
        let said = format!("built {case} {}", self.nonce);
        if !built.status.success() {
            return Ok(Some(format!(
                "nix-build failed\n{}",
                run::both_streams(&built)
            )));
        }
        if !String::from_utf8_lossy(&built.stderr).contains(&said) {
            return Ok(Some(format!("no build log\n{}", run::both_streams(&built))));
        }
        let out = String::from_utf8_lossy(&built.stdout).trim().to_owned();
        if self.client.read(&format!("{out}/result"))?.trim() != said {
            return Ok(Some(format!("`{out}` holds something else")));
        }
        if !self.builder.path(&out).exists() {
            return Ok(Some(format!("`{out}` was built elsewhere")));
        }
        self.logged(&out, &said)
    }

    /// Builds the case that is to fail, with its log and its exit status told.
    fn failing(&self) -> Result<Option<String>> {
        let built = self.nix_build("failing")?;
        let told = String::from_utf8_lossy(&built.stderr).into_owned();
        if built.status.success() {
            return Ok(Some("nix-build succeeded".to_owned()));
        }
        let mut wanted = vec![
            format!("first line of {}", self.nonce),
            format!("last line of {}", self.nonce),
        ];
        if self.tells_status {
            wanted.push("failed with exit code 3".to_owned());
        }
        for line in &wanted {
            if !told.contains(line) {
                return Ok(Some(format!("nix-build does not say `{line}`\n{told}")));
            }
        }
        let derivation = run::output(&mut self.nix("nix-instantiate", "failing"))?;
        self.logged(derivation.trim(), &wanted[0])
    }

    /// Whether the client's Nix has kept the log of what made `path`.
    fn logged(&self, path: &str, said: &str) -> Result<Option<String>> {
        let log = run::outcome(self.client.command(User::Alice, "nix").args(["log", path]))?;
        let missing = !log.status.success() || !run::both_streams(&log).contains(said);
        Ok(missing.then(|| format!("`nix log` lacks it\n{}", run::both_streams(&log))))
    }

    /// Whether the client's store is sound.
    fn verify(&self) -> Result<Option<String>> {
        let verified = run::outcome(
            self.client
                .command(User::Root, "nix-store")
                .args(["--verify", "--check-contents"]),
        )?;
        let told = run::both_streams(&verified);
        let complains = told.contains("error") || told.contains("warning");
        Ok((complains || !verified.status.success()).then_some(told))
    }

    fn nix_build(&self, case: &str) -> Result<Output> {
        run::outcome(self.nix("nix-build", case).arg("--no-out-link"))
    }

    fn nix(&self, program: &str, case: &str) -> std::process::Command {
        let mut command = self.client.command(User::Alice, program);
        command
            .env("NIX_REMOTE", "daemon")
            .args([FILE, "--attr", case, "--argstr", "nonce", self.nonce])
            .args(["--argstr", "system", &dispatch::system()]);
        command
    }
}
