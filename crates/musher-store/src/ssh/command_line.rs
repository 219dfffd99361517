//! The arguments that ssh is given. Pure.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::process::ProcessFiles;
use super::{SshOptions, SshTarget};

/// What ssh prints, through its local command, once its control socket listens.
pub(super) const READY: &str = "started";

/// The arguments of a master for `target`: first what must be so for it to be
/// ours, then the user's, then what the user may have said otherwise. ssh takes
/// the first value of an option, except for `-S`, where it takes the last.
/// `ciphers` are those to offer, if not what ssh offers by itself.
pub(super) fn master(
    target: &SshTarget,
    options: &SshOptions,
    files: &ProcessFiles,
    ciphers: Option<&str>,
) -> Vec<OsString> {
    let mut line = Arguments::default();
    line.option("ControlMaster", "yes");
    line.option("ControlPersist", "no");
    // sh runs it when the control socket listens, which nothing else tells.
    line.option("PermitLocalCommand", "yes");
    line.option("LocalCommand", &format!("echo {READY}"));
    // Forwardings of the user's configuration belong to their own sessions; two
    // masters of ours would fight over the ports.
    line.option("ClearAllForwardings", "yes");
    if let (true, Some(key)) = (options.own_key_only, &target.key) {
        line.option("IdentitiesOnly", "yes");
        line.0.extend(["-i".into(), key.into()]);
    }

    // A second request to be the master would make ssh ask before each session.
    let extra = options.extra.iter().filter(|word| *word != "-M");
    line.0.extend(extra.map(OsString::from));

    for flag in ["-v", "-x", "-a", "-T", "-N"] {
        line.0.push(flag.into());
    }
    if options.interactive {
        line.option("StrictHostKeyChecking", "yes");
    } else {
        line.option("BatchMode", "yes");
    }
    line.option("ConnectTimeout", &whole_seconds(options.connect_timeout));
    line.option(
        "ServerAliveInterval",
        &whole_seconds(options.keepalive_interval),
    );
    line.option("ServerAliveCountMax", "2");
    if let Some(ciphers) = ciphers {
        line.option("Ciphers", ciphers);
    }
    if let Some(key) = &target.key {
        line.0.push("-i".into());
        line.0.push(key.into());
    }
    let host = target.authority.host.as_str();
    if let Some(known_hosts) = &files.known_hosts {
        // Under an alias neither the port nor a HostName of the user's
        // configuration takes part in finding the key.
        line.option("HostKeyAlias", host);
        line.option("UserKnownHostsFile", &quoted(known_hosts));
    }
    if target.compress {
        line.0.push("-C".into());
    }
    if let Some(port) = target.authority.port {
        line.0.push(format!("-p{port}").into());
    }
    if let Some(user) = &target.authority.user {
        line.0.push("-l".into());
        line.0.push(user.into());
    }
    line.0.push("-S".into());
    line.0.push(percent(&files.socket).into());
    line.0.push("--".into());
    line.0.push(host.into());
    line.0
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn option(&mut self, name: &str, value: &str) {
        self.0.push("-o".into());
        self.0.push(format!("{name}={value}").into());
    }
}

/// Rounded up, since 0 would mean that there is no bound.
fn whole_seconds(duration: Duration) -> String {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    rounded.max(1).to_string()
}

/// ssh expands `%` in paths.
fn percent(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// `UserKnownHostsFile` is a list, so that a space would end the path.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", percent(path))
}

#[cfg(test)]
mod tests;
