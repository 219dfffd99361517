//! Builds from a client on a builder, one at a time, and whether each came out
//! as it should. Knows nothing of how the client was told of the builder.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::{
    dispatch,
    hosts::{command::User, host::Host},
    run, soundness,
};

/// Where the expression lies on the client.
pub(super) const FILE: &str = "/etc/interop.nix";

/// How long one command may take, in seconds: they take a few on a busy machine,
/// and whoever waits for a machine that never comes back waits for ever.
const DEADLINE: &str = "180";

/// A client that builds on a builder and nowhere else.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a Host,
    pub(super) builder: &'a Host,
    /// Where the builder's store is.
    pub(super) store: &'static str,
    /// Makes the derivations new.
    pub(super) nonce: &'a str,
    /// Whether a failing build's exit status comes through.
    pub(super) tells_status: bool,
}

impl Attempt<'_> {
    /// Builds a case that is to succeed: its log is seen and kept, its output
    /// here and on the builder.
    pub(super) fn succeeding(&self, case: &str, user: User) -> Result<()> {
        let mut command = self.nix(user, "nix-build", case);
        let built = run::outcome(command.arg("--no-out-link"))?;
        let told = run::both_streams(&built);
        ensure!(built.status.success(), "`nix-build` failed\n{told}");
        let said = self.said(case);
        ensure!(
            told.contains(&said),
            "`nix-build` does not show the log\n{told}"
        );
        let out = stdout(&built);
        let result = self.client.read(&format!("{out}/result"))?;
        ensure!(
            result.trim() == said,
            "`{out}` holds something else: {result}"
        );
        ensure!(
            self.builder.path(&format!("{}{out}", self.store)).exists(),
            "`{out}` was built elsewhere"
        );
        self.logged(&out, &said)
    }

    /// Builds a case by `nix build -L`, which puts the derivation's name before
    /// each line of its log.
    pub(super) fn attributed(&self, case: &str) -> Result<()> {
        let mut command = self.command(User::Alice, "nix");
        command.args([
            "build",
            "--print-build-logs",
            "--no-link",
            "--file",
            FILE,
            case,
        ]);
        let built = run::outcome(command.args(self.arguments()))?;
        let told = run::both_streams(&built);
        ensure!(built.status.success(), "`nix build` failed\n{told}");
        let line = format!("{case}-concluded> {}", self.said(case));
        ensure!(
            told.contains(&line),
            "`nix build -L` does not say `{line}`\n{told}"
        );
        Ok(())
    }

    /// Builds a case that is to fail, with its log seen and kept and its exit
    /// status told.
    pub(super) fn failing(&self, case: &str) -> Result<()> {
        let mut command = self.nix(User::Alice, "nix-build", case);
        let built = run::outcome(command.arg("--no-out-link"))?;
        let told = run::both_streams(&built);
        ensure!(!built.status.success(), "`nix-build` succeeded");
        let first = format!("first line of {}", self.nonce);
        let mut wanted = vec![first.clone(), format!("last line of {}", self.nonce)];
        if self.tells_status {
            wanted.push("failed with exit code 3".to_owned());
        }
        for line in wanted {
            ensure!(
                told.contains(&line),
                "`nix-build` does not say `{line}`\n{told}"
            );
        }
        let derivation = run::output(&mut self.nix(User::Alice, "nix-instantiate", case))?;
        self.logged(derivation.trim(), &first)
    }

    /// Whether nothing has brought `musher daemon` down.
    pub(super) fn daemon_runs(&self) -> Result<()> {
        let runs = self.client.service_runs("musher")?;
        ensure!(
            runs,
            "it has ended, and said:\n{}",
            self.client.service_log("musher")
        );
        Ok(())
    }

    /// Whether the client's store is sound.
    pub(super) fn verify(&self) -> Result<()> {
        let mut command = self.client.command(User::Root, "nix-store");
        soundness::verify(&mut command)
    }

    /// Whether the client's Nix has kept the log of what made `path`.
    fn logged(&self, path: &str, said: &str) -> Result<()> {
        let mut command = self.client.command(User::Alice, "nix");
        let log = run::output(command.args(["log", path])).context("no log is kept")?;
        ensure!(log.contains(said), "`nix log` lacks `{said}`\n{log}");
        Ok(())
    }

    /// What the last derivation of a case prints and leaves in its output.
    fn said(&self, case: &str) -> String {
        format!("built {case} {}", self.nonce)
    }

    /// A Nix command about one case. Root's Nix opens the store itself; that of
    /// others finds that it may not, and asks nix-daemon.
    fn nix(&self, user: User, program: &str, case: &str) -> Command {
        let mut command = self.command(user, program);
        command.args([FILE, "--attr", case]).args(self.arguments());
        command
    }

    /// A command on the client, which ends after [`DEADLINE`] at the latest.
    fn command(&self, user: User, program: &str) -> Command {
        let mut command = self.client.command(user, "timeout");
        command.args(["--verbose", "--kill-after=10", DEADLINE, program]);
        command
    }

    /// The arguments of the expression.
    fn arguments(&self) -> [String; 6] {
        let system = dispatch::system();
        [
            "--argstr", "nonce", self.nonce, "--argstr", "system", &system,
        ]
        .map(str::to_owned)
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
