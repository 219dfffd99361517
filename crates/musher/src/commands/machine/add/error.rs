//! Why a machine was not added: errors of the library as failures.

use musher_coordinator::config::Machine;
use musher_coordinator::enrol::{BinaryError, InstallError, LoginKeyError, Obstacle, OddPath};

use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error("this machine cannot build for us: {}", joined(.obstacles))]
    Obstacles { obstacles: Vec<Obstacle> },
    #[error("there is a machine `{name}` already, which is `{place}`")]
    NameTaken { name: String, place: String },
}

pub(super) fn obstacles(found: &[Obstacle]) -> Failure {
    let help: Vec<String> = found.iter().map(Obstacle::help).collect();
    let obstacles = found.to_vec();
    Failure::environment(AddError::Obstacles { obstacles }).help(help.join("\n"))
}

fn joined(obstacles: &[Obstacle]) -> String {
    let texts: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

pub(super) fn name_taken(machine: &Machine) -> Failure {
    let name = machine.name.to_string();
    let place = machine.connect.place();
    let help = "choose another by `--name`".to_owned();
    Failure::user(AddError::NameTaken { name, place }).help(help)
}

pub(super) fn odd_path(error: OddPath) -> Failure {
    let help = "choose a directory there with plain letters by `--dir`".to_owned();
    Failure::user(error).help(help)
}

pub(super) fn binary(error: BinaryError) -> Failure {
    let help = error.help();
    Failure::of(error.is_users(), error).help(help)
}

pub(super) fn key(error: LoginKeyError) -> Failure {
    let help = error.help();
    Failure::of(error.is_users(), error).help(help)
}

pub(super) fn install(error: InstallError) -> Failure {
    let help = error.help();
    Failure::environment(error).help(help)
}
