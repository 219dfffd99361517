//! What a forced command in `authorized_keys` is to do: ssh says in
//! `SSH_ORIGINAL_COMMAND` what the client wanted to run. Starts nothing and
//! reads no environment.

use super::Protocol;

/// A command that a key restricted to Nix may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this key is for Nix only: it may run `nix-daemon --stdio` or `nix-store --serve --write`, not `{command}`"
)]
pub struct NotServed {
    /// What the client asked for; empty where it wanted a shell.
    pub command: String,
}

impl NotServed {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        self.command.contains("--store").then(|| {
            "leave `remote-store` out of the store URL: the store here is a given".to_owned()
        })
    }
}

/// The protocol that the client of `command` will speak.
pub fn served_protocol(command: &str) -> Result<Protocol, NotServed> {
    let words = shell_words::split(command).unwrap_or_default();
    let mut words = words.iter().map(String::as_str);
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let arguments: Vec<_> = words.collect();
    match (program, arguments.as_slice()) {
        ("nix-daemon", ["--stdio"]) => Ok(Protocol::Worker),
        ("nix-store", ["--serve", "--write"]) => Ok(Protocol::Serve),
        _ => Err(NotServed {
            command: command.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, expected: Option<Protocol>) {
        assert_eq!(served_protocol(command).ok(), expected, "{command}");
    }

    #[test]
    fn what_nix_runs_is_served() {
        check("nix-daemon --stdio", Some(Protocol::Worker));
        check("/usr/bin/nix-daemon --stdio", Some(Protocol::Worker));
        check("'nix-daemon' '--stdio'", Some(Protocol::Worker));
        check("nix-store --serve --write", Some(Protocol::Serve));
    }

    #[test]
    fn everything_else_is_refused() {
        for command in [
            "",
            "sh",
            "nix-daemon",
            "nix-daemon --stdio --store /elsewhere",
            "nix-daemon --stdio; sh",
            "nix-store --serve",
            "nix-store --serve --write --store x",
            "nix-store -r /nix/store/x",
            "nix-daemon '--stdio",
        ] {
            check(command, None);
        }
    }
}
