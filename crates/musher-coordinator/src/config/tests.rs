//! The two formats as text in, values or errors out.

mod import;
mod musher_toml;
mod nix_machines;

use super::{ConfigError, Machine};

/// A machine in one line, leaving out what has its default.
fn summary(machine: &Machine) -> String {
    let mut line = format!(
        "{}: {} kind={} systems={:?} jobs={} speed={}",
        machine.name,
        machine.connect,
        machine.kind,
        machine.systems,
        machine.max_jobs,
        machine.speed_factor.value(),
    );
    let mut add = |label: &str, value: String| line.push_str(&format!(" {label}={value}"));
    if !machine.supported_features.is_empty() {
        add("supported", format!("{:?}", machine.supported_features));
    }
    if !machine.mandatory_features.is_empty() {
        add("mandatory", format!("{:?}", machine.mandatory_features));
    }
    if let Some(paths) = &machine.sandbox_paths {
        add("sandbox-paths", format!("{paths:?}"));
    }
    add("from", machine.origin.to_string());
    line
}

/// An error as the user sees it: text, causes, help.
fn story(error: &ConfigError) -> String {
    let mut story = format!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        story.push_str(&format!("\ncause: {error}"));
        cause = error.source();
    }
    if let Some(help) = error.help() {
        story.push_str(&format!("\nhelp: {help}"));
    }
    story
}
