//! A client whose store Musher is, and what it does with it.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};

use crate::{
    dispatch::{self, Kind, Machine, Scheme},
    hosts::{command::User, host::Host, team::Team},
    interop::drive,
    run, soundness,
};

const CASES: &str = include_str!("cases.nix");
const FILE: &str = "/etc/store.nix";
const STORE: &str = "unix:///run/musher/nix.sock";

/// How long one command may take, in seconds.
const DEADLINE: &str = "180";

/// A host whose clients have Musher as their store.
pub(super) struct Scene<'a> {
    client: &'a Host,
    nonce: &'a str,
}

/// Something that a client does.
type Story<'a> = fn(&Scene<'a>) -> Result<()>;

impl<'a> Scene<'a> {
    /// All that clients do.
    pub(super) const STORIES: [(&'static str, Story<'a>); 12] = [
        ("a graph", Self::builds_a_graph),
        ("a root that refers to others", Self::brings_references_home),
        ("import from derivation", Self::imports_from_derivations),
        ("a dry run", Self::tells_what_it_would_do),
        ("a failure", Self::fails),
        ("keep going", Self::keeps_going),
        ("check", Self::checks),
        ("floating outputs", Self::builds_floating),
        ("unsigned paths", Self::adds_what_nobody_signed),
        ("repair", Self::repairs),
        ("garbage", Self::collects_garbage),
        ("the store", Self::is_sound),
    ];

    /// Starts Musher on the client, with the other host as its machine.
    pub(super) fn prepare(team: &'a Team, musher: &Path, nonce: &'a str) -> Result<Self> {
        let builder = team.builders.first().context("the team has a builder")?;
        drive(builder, musher)?;
        let machine = Machine {
            scheme: Scheme::Ssh,
            user: User::Build,
            kind: Kind::Musher,
            ..Machine::new(&builder.destination(), 2)
        };
        dispatch::be_the_store(&team.client, musher, &[machine])?;
        team.client.write(FILE, CASES)?;
        Ok(Self {
            client: &team.client,
            nonce,
        })
    }

    /// What the coordinator has printed.
    pub(super) fn log(&self) -> String {
        self.client.service_log("musher")
    }

    fn builds_a_graph(&self) -> Result<()> {
        let out = self.build(User::Alice, "top")?;
        let content = self.client.read(&out)?;
        ensure!(content == "top\nmiddle\nbottom\n", "it holds {content}");
        for below in ["middle", "bottom"] {
            let path = self.evaluate(&format!("{below}.outPath"))?;
            let there = self.client.path(&path).exists();
            ensure!(!there, "`{path}` has come home, and nobody asked for it");
            self.logged(&self.instantiate(below)?, below)?;
        }
        self.logged(&out, "top")?;
        // Now that it is there nobody builds.
        let again = self.build(User::Root, "top")?;
        ensure!(again == out, "`{again}` is another than `{out}`");
        let realised = self.nix(User::Alice, "nix-store", &["-r", &self.instantiate("top")?]);
        let realised = succeeded(realised)?;
        ensure!(realised.contains(&out), "`nix-store -r` says\n{realised}");
        let info = self.nix(User::Alice, "nix", &["path-info", &out]);
        succeeded(info).map(drop)
    }

    fn brings_references_home(&self) -> Result<()> {
        let out = self.build(User::Alice, "keeper")?;
        let script = format!("cat {out}/middle");
        let middle = self.client.sh(User::Alice, &script)?;
        ensure!(middle == "middle\nbottom\n", "it holds {middle}");
        Ok(())
    }

    fn imports_from_derivations(&self) -> Result<()> {
        let out = self.build(User::Alice, "imported")?;
        ensure!(out.ends_with("-imported-name"), "it is called `{out}`");
        Ok(())
    }

    fn tells_what_it_would_do(&self) -> Result<()> {
        let asked = self.attribute(User::Alice, "nix-build", "behind", &["--dry-run"]);
        let told = run::both_streams(&asked?);
        for name in ["failing.drv", "behind.drv"] {
            ensure!(told.contains(name), "`{name}` is not among\n{told}");
        }
        Ok(())
    }

    fn fails(&self) -> Result<()> {
        let told = self.fails_to_build(&["behind"], &["--no-out-link"])?;
        let log = format!("first line of {}", self.nonce);
        let said = told.contains(&log) && told.contains("failing.drv");
        ensure!(said, "it does not say what failed\n{told}");
        self.logged_line(&self.instantiate("failing")?, &log)
    }

    fn keeps_going(&self) -> Result<()> {
        let flags = ["--no-out-link", "--keep-going"];
        let told = self.fails_to_build(&["behind", "dropped"], &flags)?;
        let path = self.evaluate("dropped.outPath")?;
        let there = self.client.path(&path).exists();
        ensure!(there, "`{path}` was not built\n{told}");
        Ok(())
    }

    fn checks(&self) -> Result<()> {
        let flags = ["--no-out-link", "--check"];
        let checked = self.attribute(User::Alice, "nix-build", "top", &flags);
        succeeded(checked).context("the same came of it")?;
        self.build(User::Alice, "random")?;
        let told = self.fails_to_build(&["random"], &flags)?;
        let said = told.contains("may not be deterministic");
        ensure!(
            said,
            "it does not say that something else came of it\n{told}"
        );
        let told = self.fails_to_build(&["failing"], &flags)?;
        let said = told.contains("checking is not possible");
        ensure!(said, "it does not say that nothing is there\n{told}");
        Ok(())
    }

    fn builds_floating(&self) -> Result<()> {
        let out = self.build(User::Alice, "floating")?;
        let content = self.client.read(&out)?;
        ensure!(content == "floating\n", "it holds {content}");
        Ok(())
    }

    fn adds_what_nobody_signed(&self) -> Result<()> {
        // A store elsewhere with something that was built there.
        let elsewhere = "/home/alice/elsewhere";
        let script = format!(
            "chmod -R u+w {elsewhere} 2>/dev/null || true; rm -rf {elsewhere}; \
             nix --extra-experimental-features nix-command copy --no-check-sigs --to {elsewhere} {}",
            self.evaluate("keeper.outPath")?
        );
        self.client.sh(User::Root, &script)?;
        let script = format!("chown -Rh alice:alice {elsewhere}");
        self.client.sh(User::Root, &script)?;
        let path = self.evaluate("keeper.outPath")?;
        let delete = self.nix(User::Root, "nix-store", &["--delete", &path]);
        succeeded(delete).context("it cannot be deleted")?;
        let copy = ["copy", "--from", elsewhere, "--to", STORE, &path];
        let alices = self.nix(User::Alice, "nix", &copy)?;
        let told = run::both_streams(&alices);
        let refused = !alices.status.success() && told.contains("lacks a");
        ensure!(refused, "a stranger could add it\n{told}");
        let copy = [
            "copy",
            "--no-check-sigs",
            "--from",
            elsewhere,
            "--to",
            STORE,
            &path,
        ];
        succeeded(self.nix(User::Root, "nix", &copy)).context("root could not add it")?;
        ensure!(self.client.path(&path).exists(), "it is not there");
        Ok(())
    }

    fn repairs(&self) -> Result<()> {
        let flags = ["--no-out-link", "--repair"];
        let tried = self.attribute(User::Alice, "nix-build", "top", &flags)?;
        let told = run::both_streams(&tried);
        let refused = !tried.status.success() && told.contains("repair");
        ensure!(refused, "a stranger could repair\n{told}");
        Ok(())
    }

    fn collects_garbage(&self) -> Result<()> {
        let kept = self.build(User::Alice, "top")?;
        let link = ["--out-link", "/home/alice/top"];
        succeeded(self.attribute(User::Alice, "nix-build", "top", &link))?;
        let dropped = self.build(User::Alice, "dropped")?;
        succeeded(self.nix(User::Root, "nix-collect-garbage", &[]))?;
        let (kept, dropped) = (self.client.path(&kept), self.client.path(&dropped));
        ensure!(kept.exists(), "what is linked to was collected");
        ensure!(!dropped.exists(), "what nobody wants was not collected");
        // The log of what is gone stays.
        self.build(User::Alice, "dropped").map(drop)
    }

    fn is_sound(&self) -> Result<()> {
        soundness::verify(&mut self.client.command(User::Root, "nix-store"))?;
        let runs = self.client.service_runs("musher")?;
        ensure!(runs, "musher daemon has ended");
        Ok(())
    }

    /// Builds a case, which has to succeed; the path of its output.
    fn build(&self, user: User, case: &str) -> Result<String> {
        let built = self.attribute(user, "nix-build", case, &["--no-out-link"]);
        Ok(succeeded(built)?.trim().to_owned())
    }

    /// Tries to build cases; what was said.
    fn fails_to_build(&self, cases: &[&str], flags: &[&str]) -> Result<String> {
        let cases = cases.iter().flat_map(|case| ["--attr", *case]);
        let arguments: Vec<_> = flags.iter().copied().chain(cases).collect();
        let tried = self.expression(User::Alice, "nix-build", &arguments)?;
        let told = run::both_streams(&tried);
        ensure!(!tried.status.success(), "`nix-build` succeeds\n{told}");
        Ok(told)
    }

    fn instantiate(&self, case: &str) -> Result<String> {
        let made = self.attribute(User::Alice, "nix-instantiate", case, &[]);
        Ok(succeeded(made)?.trim().to_owned())
    }

    /// The text of an attribute.
    fn evaluate(&self, attribute: &str) -> Result<String> {
        let flags = ["--eval", "--json"];
        let found = self.attribute(User::Alice, "nix-instantiate", attribute, &flags);
        Ok(succeeded(found)?.trim().trim_matches('"').to_owned())
    }

    /// Whether Nix has the log of a step.
    fn logged(&self, path: &str, step: &str) -> Result<()> {
        self.logged_line(path, &format!("log of {step} {}", self.nonce))
    }

    fn logged_line(&self, path: &str, line: &str) -> Result<()> {
        let log = succeeded(self.nix(User::Alice, "nix", &["log", path]));
        let log = log.with_context(|| format!("no log of `{path}` is kept"))?;
        ensure!(log.contains(line), "`nix log` lacks `{line}`\n{log}");
        Ok(())
    }

    fn attribute(&self, user: User, program: &str, case: &str, flags: &[&str]) -> Result<Output> {
        let arguments: Vec<_> = (flags.iter().copied()).chain(["--attr", case]).collect();
        self.expression(user, program, &arguments)
    }

    /// A program about the expression.
    fn expression(&self, user: User, program: &str, arguments: &[&str]) -> Result<Output> {
        let system = dispatch::system();
        let of = [
            FILE, "--argstr", "nonce", self.nonce, "--argstr", "system", &system,
        ];
        let arguments: Vec<_> = of.into_iter().chain(arguments.iter().copied()).collect();
        self.nix(user, program, &arguments)
    }

    /// A program of Nix's whose store Musher is.
    fn nix(&self, user: User, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command: Command = self.client.command(user, "timeout");
        command.args(["--verbose", "--kill-after=10", DEADLINE]);
        command.args(["env", &format!("NIX_REMOTE={STORE}"), program]);
        run::outcome(command.args(arguments))
    }
}

/// What it printed as its result, if it succeeded.
fn succeeded(outcome: Result<Output>) -> Result<String> {
    let outcome = outcome?;
    let told = || run::both_streams(&outcome);
    ensure!(outcome.status.success(), "it failed\n{}", told());
    Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
}
