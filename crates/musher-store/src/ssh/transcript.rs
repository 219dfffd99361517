//! What ssh's messages mean. ssh has no other way to say how far it came and why
//! it gave up than text for people, so that text is read here and nowhere else;
//! unknown text is harmless: the error is then less exact. Pure.
//!
//! The texts are those of OpenSSH 7.4 to 10. ssh is run with `-v`, since only
//! its debug lines tell how far a silent connection came.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ConnectFault, SshOutput};

/// How many lines are kept for people.
const KEPT: usize = 12;

/// How far a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Looking up the host's name.
    #[default]
    Resolving,
    /// Connecting to an address, or through a jump host.
    Connecting,
    /// Connected; the server has not said that it speaks ssh.
    Greeting,
    /// Agreeing on keys and checking the host's.
    KeyExchange,
    /// Logging in.
    Authenticating,
    /// Logged in; the control socket is being set up.
    Starting,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "looking up its name",
            Self::Connecting => "connecting",
            Self::Greeting => "waiting for an ssh server's greeting",
            Self::KeyExchange => "exchanging keys",
            Self::Authenticating => "logging in",
            Self::Starting => "starting the session",
        })
    }
}

/// Debug lines that tell the stage they begin.
const STAGES: &[(&str, Stage)] = &[
    ("Connecting to ", Stage::Connecting),
    ("Executing proxy command", Stage::Connecting),
    ("Connection established", Stage::Greeting),
    ("Remote protocol version", Stage::KeyExchange),
    ("SSH2_MSG_SERVICE_ACCEPT", Stage::Authenticating),
    ("Authentications that can continue", Stage::Authenticating),
    ("Entering interactive session", Stage::Starting),
];

/// Lines of verbosity that are no debug lines.
const NOISE: &[&str] = &[
    "OpenSSH_",
    "Authenticated to ",
    "Authenticated using ",
    "Transferred: ",
    "Bytes per second: ",
];

/// What ssh has said so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Transcript {
    stage: Stage,
    /// The first line of a server that did not begin as an ssh server does.
    banner: Option<String>,
    /// A key file that could not be used, and how it was told.
    key: Option<KeyFile>,
    /// The place in [`CAUSES`] of the most telling words so far.
    cause: Option<usize>,
    said: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct KeyFile {
    path: PathBuf,
    problem: KeyProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyProblem {
    Missing,
    TooOpen,
    Unusable,
}

impl Transcript {
    /// Takes one line.
    pub(super) fn line(&mut self, line: &str) {
        // Warnings of weight come in frames of `@`.
        let line = line.trim().trim_matches('@').trim();
        if let Some(debug) = debug_text(line) {
            self.debug(debug);
        } else if !line.is_empty() && !NOISE.iter().any(|noise| line.starts_with(noise)) {
            self.note_key(line);
            self.note_cause(line);
            self.said.push_back(line.to_owned());
            if self.said.len() > KEPT {
                self.said.pop_front();
            }
        }
    }

    fn debug(&mut self, text: &str) {
        if let Some((_, stage)) = STAGES.iter().find(|(start, _)| text.starts_with(start)) {
            // A jump host's own ssh writes here as well, so this can go back.
            self.stage = *stage;
        }
        if let Some((_, banner)) = text.split_once("banner line 0: ") {
            self.banner = Some(banner.chars().take(120).collect());
        }
    }

    fn note_key(&mut self, line: &str) {
        let found = key_path(line, "Identity file ", " not accessible")
            .map(|path| (path, KeyProblem::Missing))
            .or_else(|| {
                key_path(line, "no such identity: ", ":").map(|path| (path, KeyProblem::Missing))
            })
            .or_else(|| {
                key_path(line, "for '", "' are too open").map(|path| (path, KeyProblem::TooOpen))
            })
            .or_else(|| {
                key_path(line, "Load key \"", "\"").map(|path| (path, KeyProblem::Unusable))
            });
        if let (None, Some((path, problem))) = (&self.key, found) {
            self.key = Some(KeyFile { path, problem });
        }
    }

    fn note_cause(&mut self, line: &str) {
        let found = CAUSES.iter().position(|(text, _)| line.contains(text));
        self.cause = match (self.cause, found) {
            (Some(known), Some(found)) => Some(known.min(found)),
            (known, found) => known.or(found),
        };
    }

    /// What ssh said, for people.
    pub(super) fn output(&self) -> SshOutput {
        SshOutput {
            lines: self.said.iter().cloned().collect(),
        }
    }

    /// Why no connection came about within `after`.
    pub(super) fn timed_out(&self, after: Duration) -> ConnectFault {
        let said = self.output();
        match &self.banner {
            Some(_) => ConnectFault::NotSsh {
                banner: self.banner.clone(),
                said,
            },
            None => ConnectFault::TimedOut {
                after,
                stage: self.stage,
                said,
            },
        }
    }

    /// Why ssh ended with `status` before it was connected; `after` is how long
    /// it had been given.
    pub(super) fn fault(&self, status: Option<i32>, after: Duration) -> ConnectFault {
        let said = self.output();
        let stage = self.stage;
        match self.cause() {
            Cause::NoSsh => ConnectFault::NoSsh { said },
            Cause::Options => ConnectFault::Options { said },
            Cause::UnknownName => ConnectFault::UnknownName { said },
            Cause::Refused => ConnectFault::Refused { said },
            Cause::Unreachable => ConnectFault::Unreachable { said },
            Cause::TimedOut => self.timed_out(after),
            Cause::NotSsh => ConnectFault::NotSsh {
                banner: self.banner.clone(),
                said,
            },
            Cause::HungUp => ConnectFault::HungUp { stage, said },
            Cause::NoCommonAlgorithm => ConnectFault::NoCommonAlgorithm { said },
            Cause::UnknownHostKey => ConnectFault::UnknownHostKey { said },
            Cause::ChangedHostKey => ConnectFault::ChangedHostKey { said },
            Cause::Denied => self.denied(said),
            // The shell's own status for a program that is not there.
            Cause::Other if status == Some(127) => ConnectFault::NoSsh { said },
            Cause::Other => ConnectFault::Other { status, said },
        }
    }

    /// A login refused: because of the key's file where ssh complained of it.
    fn denied(&self, said: SshOutput) -> ConnectFault {
        match &self.key {
            None => ConnectFault::KeyRefused { said },
            Some(KeyFile { path, problem }) => {
                let path = path.clone();
                match problem {
                    KeyProblem::Missing => ConnectFault::KeyMissing { path, said },
                    KeyProblem::TooOpen => ConnectFault::KeyTooOpen { path, said },
                    KeyProblem::Unusable => ConnectFault::KeyUnusable { path, said },
                }
            }
        }
    }

    fn cause(&self) -> Cause {
        let told = self.cause.and_then(|place| CAUSES.get(place));
        match told {
            // A server that hangs up after words that are no ssh greeting.
            Some((_, Cause::HungUp)) if self.banner.is_some() => Cause::NotSsh,
            Some((_, cause)) => *cause,
            None => Cause::Other,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Cause {
    NoSsh,
    Options,
    UnknownName,
    Refused,
    Unreachable,
    TimedOut,
    NotSsh,
    HungUp,
    NoCommonAlgorithm,
    UnknownHostKey,
    ChangedHostKey,
    Denied,
    Other,
}

/// Words that tell the cause. The first that occurs counts: the more particular
/// come first, as a refusal is often followed by `Connection closed`.
const CAUSES: &[(&str, Cause)] = &[
    ("HOST IDENTIFICATION HAS CHANGED", Cause::ChangedHostKey),
    ("Host key verification failed", Cause::UnknownHostKey),
    ("Permission denied (", Cause::Denied),
    ("Too many authentication failures", Cause::Denied),
    ("Unable to negotiate", Cause::NoCommonAlgorithm),
    ("no matching host key type", Cause::NoCommonAlgorithm),
    ("Could not resolve hostname", Cause::UnknownName),
    ("Connection refused", Cause::Refused),
    ("No route to host", Cause::Unreachable),
    ("Network is unreachable", Cause::Unreachable),
    ("Host is down", Cause::Unreachable),
    ("timed out", Cause::TimedOut),
    ("banner line contains invalid", Cause::NotSsh),
    ("banner line too long", Cause::NotSsh),
    ("too many lines before banner", Cause::NotSsh),
    ("No banner received", Cause::NotSsh),
    ("Bad remote protocol version", Cause::NotSsh),
    ("Bad configuration option", Cause::Options),
    ("unknown option --", Cause::Options),
    ("illegal option --", Cause::Options),
    ("bad configuration options", Cause::Options),
    ("usage: ssh", Cause::Options),
    ("Bad owner or permissions on", Cause::Options),
    ("ssh: not found", Cause::NoSsh),
    ("ssh: command not found", Cause::NoSsh),
    ("Connection closed by", Cause::HungUp),
    ("Connection reset by", Cause::HungUp),
    ("kex_exchange_identification", Cause::HungUp),
    ("Broken pipe", Cause::HungUp),
];

fn debug_text(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("debug")?;
    let (level, text) = rest.split_once(": ")?;
    let text = text.trim_start();
    matches!(level, "1" | "2" | "3").then_some(
        text.strip_prefix("kex_exchange_identification: ")
            .unwrap_or(text),
    )
}

/// The path between two texts of a line.
fn key_path(line: &str, before: &str, after: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(before)?;
    let (path, _) = rest.split_once(after)?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests;
