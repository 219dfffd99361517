//! Makes a part of the unified hierarchy ready for builds. Below a group that
//! counts for those below it no process may be beside them, so this process moves
//! down: `<own>/musher-worker`, and the builds are `<own>/musher-build-…`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

const OWN: &str = "musher-worker";

/// What is wanted; what is not there is not switched on.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "io"];

/// The group in which builds get theirs, or why there is none.
pub(super) fn parent(own: &Path) -> Result<PathBuf, String> {
    // A process of ours that is here already was moved by its parent.
    let parent = match own.file_name() {
        Some(name) if name == OWN => own.parent().unwrap_or(own),
        _ => own,
    };
    let read = |name: &str| fs::read_to_string(parent.join(name)).unwrap_or_default();
    let there = read("cgroup.controllers");
    let there: Vec<&str> = there.split_whitespace().collect();
    if !there.contains(&"memory") {
        return Err(format!(
            "the control group `{}` does not count memory",
            parent.display()
        ));
    }
    let on = read("cgroup.subtree_control");
    let missing: Vec<&str> = CONTROLLERS
        .into_iter()
        .filter(|name| there.contains(name) && !on.split_whitespace().any(|it| it == *name))
        .collect();
    if !missing.is_empty() {
        step_down(parent)?;
        // Each by itself: one that is refused is no reason to go without the rest.
        for name in missing {
            let switched = fs::write(parent.join("cgroup.subtree_control"), format!("+{name}"));
            if name == "memory" {
                switched.map_err(|error| refused(parent, &error))?;
            }
        }
    } else if !super::may_write(parent) {
        return Err(format!(
            "the control group `{}` is another's",
            parent.display()
        ));
    }
    Ok(parent.to_path_buf())
}

/// Leaves the group to its children, unless others are in it: a login session,
/// for instance, which is not ours to move.
fn step_down(parent: &Path) -> Result<(), String> {
    let list =
        fs::read_to_string(parent.join("cgroup.procs")).map_err(|error| refused(parent, &error))?;
    let own = process::id().to_string();
    if let Some(other) = list.lines().find(|pid| *pid != own) {
        let parent = parent.display();
        return Err(format!(
            "process {other} is in the control group `{parent}` too"
        ));
    }
    let below = parent.join(OWN);
    match fs::create_dir(&below) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(refused(parent, &error));
        }
        Ok(()) | Err(_) => {}
    }
    fs::write(below.join("cgroup.procs"), own).map_err(|error| refused(parent, &error))
}

fn refused(parent: &Path, error: &std::io::Error) -> String {
    format!(
        "the control group `{}` is not ours to divide: {error}",
        parent.display()
    )
}
