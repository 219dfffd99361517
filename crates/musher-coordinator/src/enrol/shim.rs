//! The small script that a coordinator's key is restricted to on a machine. It
//! stays when programs change: upgrades pass through it. Pure.

use super::binary::ContentHash;
use super::script::quoted;

const BODY: &str = include_str!("shim.sh");

/// What the shim exits with where it has no program of the hash asked for.
pub const NOT_INSTALLED: i32 = 66;

/// What tells a worker not to sandbox builds.
const NO_SANDBOX: &str = "--no-sandbox";

/// How a forced command begins; the shim's path follows. Every login shell reads
/// it alike, and it works where programs in the home directory cannot be run.
const START: &str = "exec /bin/sh ";

/// What the shim exits with where a program is for another architecture.
pub const OTHER_ARCHITECTURE: i32 = 69;

/// Where the shim and what it starts lie on a machine. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimScript {
    /// The directory of the shim and the programs.
    pub files: String,
    /// The directory of the worker's store and state.
    pub state: String,
    /// Whether the worker sandboxes builds.
    pub sandboxed: bool,
}

/// A path that cannot stand in `authorized_keys` for every login shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path `{path}` has characters that not every shell takes as they are")]
pub struct OddPath {
    /// The path.
    pub path: String,
}

impl ShimScript {
    /// The shim whose programs are in `files`, and whose worker keeps its state
    /// in `state`.
    ///
    /// # Errors
    ///
    /// The command that sshd starts is read by the user's login shell, be it
    /// sh, csh or fish, so that only paths that need no quotes will do.
    pub fn new(files: &str, state: &str) -> Result<Self, OddPath> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
        for path in [files, state] {
            if !path.starts_with('/') || !path.chars().all(plain) {
                let path = path.to_owned();
                return Err(OddPath { path });
            }
        }
        Ok(Self {
            files: files.to_owned(),
            state: state.to_owned(),
            sandboxed: true,
        })
    }

    /// The same for a worker that does not sandbox builds.
    #[must_use]
    pub fn without_sandbox(mut self) -> Self {
        self.sandboxed = false;
        self
    }

    /// Reads back what [`Self::text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().nth(1)?;
        let words = shell_words::split(line).ok()?;
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        let shim = Self::new(value("files=")?, value("state=")?).ok()?;
        Some(Self {
            sandboxed: value("options=") != Some(NO_SANDBOX),
            ..shim
        })
    }

    /// Where it lies.
    pub fn path(&self) -> String {
        format!("{}/shim", self.files)
    }

    /// The command that sshd is to start instead of what the client asks for.
    pub fn forced_command(&self) -> String {
        format!("{START}{}", self.path())
    }

    /// The script.
    pub fn text(&self) -> String {
        let files = quoted(&self.files);
        let state = quoted(&self.state);
        let options = if self.sandboxed { "" } else { NO_SANDBOX };
        format!("#!/bin/sh\nfiles={files} state={state} options={options}\n{BODY}")
    }
}

/// The path of the shim that a forced command starts.
pub(crate) fn path_of(command: &str) -> Option<&str> {
    command.strip_prefix(START)
}

/// What is asked of the shim to start the worker of a program, or of the one
/// that was installed last.
pub fn worker_command(hash: Option<&ContentHash>) -> Vec<String> {
    let hash = hash.map(ToString::to_string);
    ["worker".to_owned()].into_iter().chain(hash).collect()
}

/// What is asked of the shim to take a program of `size` bytes from its
/// standard input; only on a machine of `architecture`, if it is given.
pub fn install_command(hash: &ContentHash, size: u64, architecture: Option<&str>) -> Vec<String> {
    let words = ["install".to_owned(), hash.to_string(), size.to_string()];
    let architecture = architecture.map(str::to_owned);
    words.into_iter().chain(architecture).collect()
}

#[cfg(test)]
mod tests;
