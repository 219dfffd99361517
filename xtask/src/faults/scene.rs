//! Where the trials play: a client and four builders on networks of their own,
//! builds in the background, and what must be true when all is over.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    dispatch::{self, Machine},
    hosts::{
        command::User,
        host::{Host, Spec},
        processes::wait_until,
        suite::Suite,
        team::Team,
    },
    relay::{Link, Relay},
    run,
};

const TRIALS: &str = include_str!("trials.nix");

/// Where the expression lies on the client.
const FILE: &str = "/etc/trials.nix";

/// What no trial's `nix-build` takes.
const HANGS: Duration = Duration::from_secs(180);

/// Of each builder.
const SLOTS: u32 = 2;

/// A team on which something is about to go wrong.
pub(super) struct Scene {
    pub(super) team: Team,
    musher: Option<PathBuf>,
}

impl Scene {
    /// Starts a team whose client builds on four builders.
    pub(super) fn set(musher: Option<PathBuf>) -> Result<Self> {
        let builders = (1..=4).map(|number| {
            Spec::new(format!("b{number}"), Suite::Sid)
                .with("max-jobs", SLOTS.to_string())
                .networked()
        });
        let team = Team::start(Spec::new("client", Suite::Sid), builders.collect())?;
        team.client.write(FILE, TRIALS)?;
        let scene = Self { team, musher };
        scene.point_at(&scene.team.builders, None)?;
        Ok(scene)
    }

    /// Lets the client build on these builders only, over `link` if given. The
    /// relays that make the link are to be kept.
    pub(super) fn point_at(&self, builders: &[Host], link: Option<Link>) -> Result<Vec<Relay>> {
        let mut relays = Vec::new();
        let mut destinations = Vec::new();
        for builder in builders {
            let mut destination = builder.destination();
            if let Some(link) = link {
                let relay = Relay::start(destination.address, link)?;
                destination.address = relay.address();
                relays.push(relay);
            }
            destinations.push(destination);
        }
        self.team.route(&destinations, "")?;
        let machines: Vec<Machine> = destinations
            .iter()
            .map(|destination| Machine::new(destination, SLOTS))
            .collect();
        match &self.musher {
            Some(program) => dispatch::use_musher(&self.team.client, program, &machines)?,
            None => dispatch::use_stock(&self.team.client, &machines)?,
        }
        Ok(relays)
    }

    /// The client.
    pub(super) fn client(&self) -> &Host {
        &self.team.client
    }

    /// The builder that things happen to.
    pub(super) fn victim(&self) -> Result<&Host> {
        self.team.builders.last().context("a team has builders")
    }

    /// Whether Musher is in between.
    pub(super) fn has_musher(&self) -> bool {
        self.musher.is_some()
    }

    /// Starts a `nix-build` of an attribute never built before.
    pub(super) fn start(&self, attribute: &str, more: &[&str]) -> Result<Building> {
        let nonce = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("no time")?
            .as_nanos();
        let mut command = self.client().command(User::Alice, "nix-build");
        command
            .env("NIX_REMOTE", "daemon")
            .args([FILE, "--attr", attribute, "--no-out-link"])
            .args(["--argstr", "nonce", &nonce.to_string()])
            .args(["--argstr", "system", &dispatch::system()])
            .args(more);
        Building::start(attribute, &mut command)
    }

    /// Waits until every builder has a build running.
    pub(super) fn await_builds(&self) -> Result<()> {
        for builder in &self.team.builders {
            wait_until("a builder has a build running", || is_building(builder))?;
        }
        Ok(())
    }

    /// Waits until no builder has a build running, for `at_most`.
    pub(super) fn await_quiet(&self, at_most: Duration) -> Result<()> {
        let started = Instant::now();
        for builder in &self.team.builders {
            wait_until("a builder has no build running", || {
                Ok(!is_building(builder)?)
            })?;
        }
        if started.elapsed() > at_most {
            bail!(
                "builds went on for {:.1} s",
                started.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    /// Ends the daemon and waits until no process is left of what was done: no
    /// session on the client, no channel on a builder.
    pub(super) fn assert_nothing_left(&self) -> Result<()> {
        dispatch::stop_musher(self.client())?;
        for host in self.team.builders.iter().chain([self.client()]) {
            wait_until("only a host's own services run", || {
                Ok(leftovers(host)?.is_empty())
            })
            .with_context(|| {
                format!(
                    "on `{}` there are: {}",
                    host.name(),
                    leftovers(host).unwrap_or_default().join("; ")
                )
            })?;
        }
        Ok(())
    }
}

/// Whether any process on the host is a build, which Nix runs as `sh`.
pub(super) fn is_building(host: &Host) -> Result<bool> {
    Ok(host
        .processes()?
        .iter()
        .any(|process| process.command_line.starts_with("sh -euc ")))
}

/// What runs besides init and the two services.
fn leftovers(host: &Host) -> Result<Vec<String>> {
    let services: Vec<u32> = ["nix-daemon", "sshd"]
        .iter()
        .filter_map(|name| host.service_pid(name))
        .collect();
    let others = host
        .processes()?
        .into_iter()
        .filter(|process| process.pid != 1 && !services.contains(&process.pid));
    Ok(others.map(|process| process.command_line).collect())
}

/// A `nix-build` in the background.
pub(super) struct Building {
    attribute: String,
    started: Instant,
    waiting: JoinHandle<std::io::Result<(Output, Instant)>>,
}

impl Building {
    fn start(attribute: &str, command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let child = command.spawn().context("cannot start `nix-build`")?;
        let waiting = thread::spawn(move || Ok((child.wait_with_output()?, Instant::now())));
        Ok(Self {
            attribute: attribute.to_owned(),
            started,
            waiting,
        })
    }

    /// Waits for its end, whatever that is, and says how long it took. One that
    /// hangs ends with its host.
    pub(super) fn end(self) -> Result<(Output, Duration)> {
        while !self.waiting.is_finished() {
            ensure!(
                self.started.elapsed() < HANGS,
                "`nix-build` of `{}` hangs",
                self.attribute
            );
            thread::sleep(Duration::from_millis(1));
        }
        let (output, ended) = self
            .waiting
            .join()
            .ok()
            .context("a thread panicked")?
            .context("cannot wait")?;
        Ok((output, ended - self.started))
    }

    /// Waits for its end, which is to be a success.
    pub(super) fn succeed(self) -> Result<Duration> {
        let attribute = self.attribute.clone();
        let (output, taken) = self.end()?;
        if !output.status.success() {
            bail!(
                "`nix-build` of `{attribute}` failed\n{}",
                run::both_streams(&output)
            );
        }
        Ok(taken)
    }
}
