//! `cargo xtask bench copy`: what arrives in a store of Musher's beside what
//! arrives in one of stock Nix, on the same host behind the same sshd.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

use super::SUITE;
use crate::{
    cargo::{self, Profile},
    hosts::{
        command::User,
        host::{Host, Spec},
        team::Team,
    },
    relay::{Link, Relay},
    ui,
};

/// Of the slow link, each way.
const BYTES_PER_SECOND: u64 = 200_000_000 / 8;

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// What a large file has, in bytes.
const LARGE: u64 = 1 << 30;

/// The configuration by which the host serves a store of Musher's.
const CONFIG: &str = "/nix/musher/musher.toml";

/// That store, on the file system that has Nix's.
const HOME: &str = "/nix/musher/home";

/// Copy many small files and a large one into a store of Musher's and into Nix's
#[derive(Args)]
pub(crate) struct CopyArgs {
    /// How often each figure is measured; over the slow link once
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Leave the slow link out
    #[arg(long)]
    near: bool,
}

/// What is copied.
#[derive(Clone, Copy)]
enum Content {
    Small,
    Large,
}

impl Content {
    fn title(self) -> &'static str {
        match self {
            Self::Small => "20,000 files of 1 KiB in 200 directories",
            Self::Large => "1 GiB in one file",
        }
    }

    /// Adds it to the client's store, new each time. Answers its path.
    fn make(self, client: &Host) -> Result<String> {
        // What is made of small files stays, here and where it is copied to: a
        // disk that has just lost many files makes new ones slowly.
        let script = match self {
            Self::Small => "for dir in $(seq 200); do mkdir -p content/$dir; \
                 head -c 102400 /dev/urandom | split -b 1024 - content/$dir/; done"
                .to_owned(),
            Self::Large => format!("head -c {LARGE} /dev/urandom > content"),
        };
        let script = format!(
            "cd \"$(mktemp -d)\"; {script}; \
             NIX_REMOTE=daemon nix-store --add content; sync; test -d content || rm content"
        );
        Ok(client.sh(User::Root, &script)?.trim().to_owned())
    }
}

/// Who copies, and so into which store.
#[derive(Clone, Copy)]
enum Who {
    Stock,
    Musher,
}

impl Who {
    /// Copies `path`; how long that took.
    fn copy(self, client: &Host, path: &str) -> Result<Duration> {
        let script = match self {
            Self::Stock => format!("NIX_REMOTE=daemon nix copy --to ssh-ng://root@b1 {path}"),
            Self::Musher => format!(
                "musher store copy --to 'ssh-ng://root@b1?remote-program=\
                 /usr/bin/musher%20--config%20{CONFIG}%20serve' {path}"
            ),
        };
        let started = Instant::now();
        client.sh(User::Root, &script)?;
        Ok(started.elapsed())
    }

    /// Removes what was copied, so that the disk does not fill.
    fn clear(self, client: &Host, host: &Host, path: &str) -> Result<()> {
        match self {
            Self::Stock => {
                let delete = format!("nix-store --delete {path}");
                host.sh(User::Root, &delete)?;
                client.sh(User::Root, &format!("NIX_REMOTE=daemon {delete}"))?;
            }
            Self::Musher => {
                let delete = format!("musher store gc --store {HOME}");
                host.sh(User::Root, &delete)?;
            }
        }
        Ok(())
    }
}

/// Measures both ways in turn and prints them side by side.
pub(super) fn run(args: &CopyArgs) -> Result<()> {
    let musher = cargo::build_musher(Profile::Release)?;
    let host = Spec::new("b1", SUITE).with_disk();
    let team = Team::start(Spec::new("client", SUITE), vec![host])?;
    let host = team.builders.first().context("the team has a builder")?;
    for host in [&team.client, host] {
        host.install(&musher, "/usr/bin/musher")?;
    }
    host.write(CONFIG, format!("home-store = \"{HOME}\"\n"))?;
    let mut table = String::from(
        "| what | link | stock: `nix copy` | Musher: `musher store copy` | stock ÷ Musher |\n\
         |---|---|---|---|---|",
    );
    for content in [Content::Small, Content::Large] {
        let medians = measure(&team, host, content, args.repeat)?;
        row(&mut table, content, "loopback", medians);
    }
    if !args.near {
        let mut destination = host.destination();
        let link = Link {
            delay: ROUND_TRIP / 2,
            bytes_per_second: Some(BYTES_PER_SECOND),
        };
        let relay = Relay::start(destination.address, link)?;
        destination.address = relay.address();
        team.route(&[destination], "")?;
        let medians = measure(&team, host, Content::Large, 1)?;
        row(&mut table, Content::Large, "200 Mbit/s, 50 ms", medians);
        let least = LARGE as f64 / BYTES_PER_SECOND as f64;
        let _ = write!(
            table,
            "\n\nOf that link Musher used {:.2}.",
            least / medians[1].as_secs_f64()
        );
    }
    ui::data(table);
    Ok(())
}

/// The medians of stock and of Musher.
fn measure(team: &Team, host: &Host, content: Content, repeat: usize) -> Result<[Duration; 2]> {
    let ways = [Who::Stock, Who::Musher];
    let mut taken = [Vec::new(), Vec::new()];
    for number in 0..repeat {
        let path = content.make(&team.client)?;
        // In turn, so that neither always has the disk that the other filled.
        for way in [number % 2, (number + 1) % 2] {
            host.sh(User::Root, "sync")?;
            taken[way].push(ways[way].copy(&team.client, &path)?);
        }
        if let Content::Large = content {
            for who in ways.iter().rev() {
                who.clear(&team.client, host, &path)?;
            }
        }
        let [stock, ours] = taken
            .each_ref()
            .map(|taken| taken.last().copied().unwrap_or_default());
        ui::say(format!(
            "{}: stock {}, Musher {}",
            content.title(),
            ui::seconds(stock),
            ui::seconds(ours)
        ));
    }
    Ok(taken.map(|mut taken| {
        taken.sort();
        taken.get(taken.len() / 2).copied().unwrap_or_default()
    }))
}

fn row(table: &mut String, content: Content, link: &str, [stock, ours]: [Duration; 2]) {
    let _ = write!(
        table,
        "\n| {} | {link} | {:.2} s | {:.2} s | {:.2}× |",
        content.title(),
        stock.as_secs_f64(),
        ours.as_secs_f64(),
        stock.as_secs_f64() / ours.as_secs_f64()
    );
}
