//! What a machine is proposed to be in the configuration, by what it said of
//! itself. Pure.

use std::net::IpAddr;

use musher_api::features;
use musher_store::url::Authority;

use super::survey::{Kvm, Survey};
use crate::config::MachineName;

/// As much memory as a build gets when there is a choice, in bytes.
const MEMORY_OF_A_BUILD: u64 = 2 << 30;

/// What the user said, which counts more than what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What to call it.
    pub name: Option<MachineName>,
    /// How many builds to run at once.
    pub max_jobs: Option<u32>,
    /// The systems to build for; empty to take those it has.
    pub systems: Vec<String>,
    /// The system features to offer; none to take those it has.
    pub features: Option<Vec<String>>,
}

/// How a machine is to stand in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What it is called.
    pub name: MachineName,
    /// How many builds it runs at once.
    pub max_jobs: u32,
    /// The systems it builds for, its own first.
    pub systems: Vec<String>,
    /// The system features it offers, sorted.
    pub features: Vec<String>,
}

impl Proposal {
    /// What to make of a machine.
    pub fn new(survey: &Survey, authority: &Authority, wishes: &Wishes) -> Self {
        let systems = match wishes.systems.is_empty() {
            true => systems(survey),
            false => wishes.systems.clone(),
        };
        Self {
            name: (wishes.name.clone()).unwrap_or_else(|| name(survey, authority)),
            max_jobs: wishes.max_jobs.unwrap_or_else(|| slots(survey)),
            systems,
            features: (wishes.features.clone()).unwrap_or_else(|| offered(survey)),
        }
    }
}

/// The system of a machine with this architecture and kernel, in Nix's words.
pub fn system(architecture: &str) -> String {
    let architecture = match architecture {
        "i386" | "i486" | "i586" => "i686",
        "armv8l" => "armv7l",
        "arm64" => "aarch64",
        "ppc64le" => "powerpc64le",
        "ppc64" => "powerpc64",
        other => other,
    };
    format!("{architecture}-linux")
}

fn systems(survey: &Survey) -> Vec<String> {
    let own = system(&survey.architecture);
    let sibling = survey.runs_i686.then(|| system("i686"));
    [own].into_iter().chain(sibling).collect()
}

/// The host as the user calls it, or by the name it has for itself where they
/// gave an address.
fn name(survey: &Survey, authority: &Authority) -> MachineName {
    let given = authority.host.as_str();
    let address = given.split('%').next().unwrap_or(given);
    match address.parse::<IpAddr>() {
        Ok(_) => MachineName::from_host(&survey.host),
        Err(_) => MachineName::from_host(given),
    }
}

/// One for each processor, as long as the memory allows.
fn slots(survey: &Survey) -> u32 {
    let fitting = survey.memory.map(|memory| memory / MEMORY_OF_A_BUILD);
    let fitting = fitting.and_then(|count| u32::try_from(count).ok());
    survey.cores.min(fitting.unwrap_or(survey.cores)).max(1)
}

fn offered(survey: &Survey) -> Vec<String> {
    let kvm = (survey.kvm == Kvm::Usable).then_some("kvm");
    let mut features: Vec<String> = features::USUAL
        .into_iter()
        .chain(kvm)
        .map(str::to_owned)
        .collect();
    features.sort();
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "kernel Linux\nrelease 6.1\narchitecture x86_64\nhost box7\nuser u\nuid 1\n\
                         home /h\nfiles /f\nstate /s\n";

    fn propose(more: &str, authority: &str) -> Proposal {
        let survey = Survey::parse(&format!("{LEAST}{more}")).expect("a survey");
        let authority = Authority::parse(authority).expect("an authority");
        Proposal::new(&survey, &authority, &Wishes::default())
    }

    #[test]
    fn a_slot_a_core_while_memory_lasts() {
        let jobs = |more| propose(more, "b").max_jobs;
        assert_eq!(jobs("cores 8\nmemory-kib 33554432"), 8);
        assert_eq!(jobs("cores 8\nmemory-kib 8388608"), 4);
        assert_eq!(jobs("cores 8\nmemory-kib 1048576"), 1);
        assert_eq!(jobs("cores 8"), 8);
        assert_eq!(jobs(""), 1);
    }

    #[test]
    fn names_are_what_the_user_says() {
        let name = |authority| propose("", authority).name.to_string();
        assert_eq!(name("you@bigbox.example:22"), "bigbox.example");
        assert_eq!(name("you@127.0.0.1:2222"), "box7");
        assert_eq!(name("[fe80::1%25eth0]:22"), "box7");
    }

    #[test]
    fn what_runs_there_is_offered() {
        let machine = propose("runs i686\nkvm usable", "b");
        assert_eq!(machine.systems, ["x86_64-linux", "i686-linux"]);
        assert_eq!(
            machine.features,
            [
                "benchmark",
                "big-parallel",
                "ca-derivations",
                "kvm",
                "nixos-test"
            ]
        );
        assert_eq!(propose("kvm forbidden", "b").features, features::USUAL);
        assert_eq!(system("ppc64le"), "powerpc64le-linux");
    }
}
