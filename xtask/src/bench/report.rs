//! Keeps the figures in `docs/benchmarks.md`, with what they were measured on.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::{BUILDERS, SLOTS, SUITE};
use crate::{
    cargo,
    hosts::{command::User, host::Host, team::Team},
    run, ui,
};

const FILE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// Replaces what stands between the markers, or begins the page.
pub(super) fn keep(team: &Team, table: &str, repeat: usize) -> Result<()> {
    let path = cargo::root().join(FILE);
    let page =
        fs::read_to_string(&path).unwrap_or_else(|_| format!("# Benchmarks\n\n{BEGIN}\n{END}\n"));
    let section = format!("{}\n\n{table}\n", circumstances(team, repeat)?);
    let page =
        replaced(&page, &section).with_context(|| format!("`{FILE}` has lost its markers"))?;
    fs::write(&path, page).with_context(|| format!("cannot write `{FILE}`"))?;
    ui::say(format!("kept in `{FILE}`"));
    Ok(())
}

fn circumstances(team: &Team, repeat: usize) -> Result<String> {
    let nix = run::output(team.client.command(User::Root, "nix").arg("--version"))?;
    let script = "echo \"$(date -u +%F), $(nproc) cores of \
                  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), \
                  $(free -g | sed -n 's/^Mem: *\\([0-9]*\\).*/\\1/p') GiB, Linux $(uname -r), \
                  commit $(git rev-parse --short HEAD)\"";
    let jobs = max_jobs(&team.client)?;
    let machine = run::output(
        Command::new("sh")
            .args(["-c", script])
            .current_dir(cargo::root()),
    )?;
    Ok(format!(
        "`cargo xtask bench --repeat {repeat}`: {}.\n\
         {BUILDERS} builders of {SLOTS} slots and a client, all on that machine, with {} of Debian {}.\n\
         Wall time of one `nix-build` by an ordinary user, evaluation included; \
         median of {repeat} (least–most), the ways in turn. \
         `musher setup` lets Nix hand over {jobs} builds at once.",
        machine.trim(),
        nix.trim(),
        SUITE.name()
    ))
}

/// The sum of the fourth column of the builders file that nix.conf includes,
/// which is Musher's, the last of the ways.
fn max_jobs(client: &Host) -> Result<u32> {
    let nix_conf = client.read("/etc/nix/nix.conf")?;
    let file = nix_conf
        .lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(name, value)| {
            (name.trim() == "builders")
                .then(|| value.trim().strip_prefix('@'))
                .flatten()
        });
    let lines = client.read(file.context("nix.conf includes no builders file")?)?;
    let builders = lines.lines().filter(|line| !line.starts_with('#'));
    Ok(builders
        .filter_map(|line| line.split_whitespace().nth(3)?.parse::<u32>().ok())
        .sum())
}

fn replaced(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = format!("# A\n{BEGIN}\nold\n{END}\nmore\n");
        let wanted = format!("# A\n{BEGIN}\nnew\n{END}\nmore\n");
        assert_eq!(replaced(&page, "new\n"), Some(wanted));
        assert_eq!(replaced("# A\n", "new\n"), None);
    }
}
