//! `cargo xtask enrol`: a host with sshd and nothing else becomes a machine by
//! one command, builds for stock Nix and for `musher build`, and is left as it
//! was. The users there are not root, and one of them has an odd login shell.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    cargo::{self, Profile},
    dispatch,
    hosts::{
        command::User,
        host::{Host, Spec},
        suite::Suite,
        team::Team,
    },
    run, ui,
};

/// Make a host without Nix a machine, build on it, and take it away again
#[derive(Args)]
pub(crate) struct EnrolArgs {
    /// Musher as it is released, which takes longer to compile
    #[arg(long)]
    release: bool,
    /// The client's Debian
    #[arg(long, value_enum, default_value = "bookworm")]
    client: Suite,
}

impl EnrolArgs {
    /// What CI checks.
    pub(crate) fn quick() -> Self {
        Self {
            release: false,
            client: Suite::Bookworm,
        }
    }
}

/// How long it may take from `machine add` to the end of the first build.
const BOUND: Duration = Duration::from_secs(20);

/// The name by which the client's ssh knows the host.
const BOX: &str = "box";

/// One derivation, which needs nothing but a shell.
const EXPRESSION: &str = r#"
{ nonce, system }:
derivation {
  inherit nonce system;
  name = "enrolled";
  builder = "/bin/sh";
  args = [ "-c" "echo built $nonce; echo $nonce > $out" ];
}
"#;

const FILE: &str = "/etc/enrol.nix";

/// Runs the whole story, first as `build`, whose shell is sh, then as `alice`,
/// whose shell is csh.
pub(crate) fn run(args: &EnrolArgs) -> Result<()> {
    let musher = cargo::build_musher(Profile::release_if(args.release))?;
    let team = ui::step("start a client, and a host without Nix", || {
        Team::start(
            Spec::new("client", args.client),
            vec![Spec::new(BOX, Suite::Bookworm).bare()],
        )
    })?;
    let host = team.builders.first().context("the team has a builder")?;
    let scene = Scene {
        client: &team.client,
        host,
    };
    scene.client.install(&musher, "/usr/bin/musher")?;
    scene.client.write(FILE, EXPRESSION)?;
    for user in [User::Build, User::Alice] {
        let name = format!("a machine by `{}`", user.name());
        ui::step(&name, || scene.story(user))?;
    }
    Ok(())
}

/// A client with Nix, and a host without.
struct Scene<'a> {
    client: &'a Host,
    host: &'a Host,
}

impl Scene<'_> {
    fn story(&self, user: User) -> Result<()> {
        let before = self.traces(user)?;
        let began = Instant::now();
        ui::say(self.add(user)?.trim_end());
        dispatch::start_musher(self.client)?;
        self.client
            .sh(User::Root, "musher setup --write")
            .context("cannot set Nix up for musher")?;
        self.client.restart_nix_daemon()?;
        let nonce = nonce()?;
        self.nix_build(&nonce, user)?;
        let took = began.elapsed();
        ui::say(format!(
            "from `machine add` to the end of the first build: {}",
            ui::seconds(took)
        ));
        ensure!(took < BOUND, "that is more than {} s", BOUND.as_secs());
        self.take_program_away(user)?;
        self.musher_build(&self::nonce()?)?;

        let again = self.add(user)?;
        ensure!(
            !again.contains(" made") && !again.contains(" copied"),
            "a second `machine add` changed something:\n{again}"
        );
        let removed = self
            .client
            .sh(User::Root, &format!("musher machine remove {BOX} --yes"));
        ui::say(removed?.trim_end());
        let after = self.traces(user)?;
        ensure!(
            before == after,
            "the host is not as it was:\n{before}\n{after}"
        );
        dispatch::stop_musher(self.client)
    }

    fn add(&self, user: User) -> Result<String> {
        let script = format!("musher machine add {}@{BOX} --yes 2>&1", user.name());
        self.client.sh(User::Root, &script)
    }

    /// Has the host be one that lacks this release, which the next coordinator
    /// then installs there.
    fn take_program_away(&self, user: User) -> Result<()> {
        dispatch::stop_musher(self.client)?;
        let script = "cd .cache/musher && find . -name musher -type f -delete";
        let script = format!("cd {} && {script}", user.home());
        self.host.sh(User::Root, &script)?;
        dispatch::start_musher(self.client)
    }

    /// What there is of ours on the host, and the keys.
    fn traces(&self, user: User) -> Result<String> {
        let home = user.home();
        let mut said = self.host.sh(
            User::Root,
            &format!(
                "cat {home}/.ssh/authorized_keys; \
                 find {home} -name '*musher*' -o -name shim | sort"
            ),
        )?;
        let processes = self.host.processes()?;
        let ours = processes
            .iter()
            .filter(|process| process.name.contains("musher"));
        said.extend(ours.map(|process| process.command_line.clone() + "\n"));
        Ok(said)
    }

    /// By the hook entrance, as a user whom Nix does not trust.
    fn nix_build(&self, nonce: &str, user: User) -> Result<()> {
        let mut command = self.client.command(User::Alice, "nix-build");
        command
            .env("NIX_REMOTE", "daemon")
            .args([FILE, "--no-out-link"]);
        let built = run::outcome(command.args(arguments(nonce)))?;
        let told = run::both_streams(&built);
        ensure!(built.status.success(), "`nix-build` failed\n{told}");
        let line = format!("built {nonce}");
        ensure!(
            told.contains(&line),
            "`nix-build` does not show the log\n{told}"
        );
        let out = String::from_utf8_lossy(&built.stdout).trim().to_owned();
        let there = format!("{}/.local/state/musher/worker/store{out}", user.home());
        ensure!(
            self.host.path(&there).exists(),
            "`{out}` was built elsewhere"
        );
        Ok(())
    }

    /// By `musher build`, of a derivation that Nix only instantiated.
    fn musher_build(&self, nonce: &str) -> Result<()> {
        let mut command = self.client.command(User::Root, "nix-instantiate");
        let drv = run::output(command.arg(FILE).args(arguments(nonce)))?;
        let mut command = self.client.command(User::Root, "musher");
        let built = run::outcome(command.args(["build", drv.trim(), "-L", "--no-link"]))?;
        let told = run::both_streams(&built);
        ensure!(built.status.success(), "`musher build` failed\n{told}");
        let line = format!("built {nonce}");
        ensure!(
            told.contains(&line),
            "`musher build` does not show the log\n{told}"
        );
        Ok(())
    }
}

fn arguments(nonce: &str) -> [String; 6] {
    let system = dispatch::system();
    ["--argstr", "nonce", nonce, "--argstr", "system", &system].map(str::to_owned)
}

/// Makes derivations new.
fn nonce() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("no time")?.as_nanos().to_string())
}
