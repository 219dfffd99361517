//! Which key a host proves itself by, as the user's own ssh knows it or as the
//! host shows it now. Asks ssh and ssh-keygen, and decides nothing about trust.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use musher_store::ssh::SshOptions;
use musher_store::url::{Authority, HostKey};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

/// A host's keys, and where they are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHostKey {
    /// The keys.
    pub key: HostKey,
    /// Whether the user's ssh knew them already.
    pub known: bool,
}

/// Why a host's key was not found out.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// A program of OpenSSH's did not run.
    #[error("cannot run `{program}`")]
    Run {
        /// The program.
        program: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// ssh does not accept its configuration.
    #[error("ssh does not say how it would reach the host: {said}")]
    Options {
        /// What it said.
        said: String,
    },
    /// The host did not show one.
    #[error("the host showed no key: {said}")]
    NotShown {
        /// What ssh said.
        said: String,
    },
    /// The user's ssh knows it as one that no host may have any more.
    #[error("the host shows a key that `{}` calls revoked: {fingerprint}", file.display())]
    Revoked {
        /// The key's fingerprint.
        fingerprint: String,
        /// Where it is called that.
        file: PathBuf,
    },
}

impl HostKeyError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Revoked { file, .. } => Some(format!(
                "whoever has the key may pose as the host: have another made there; if it was \
                 called revoked by mistake, take the `@revoked` line out of `{}`",
                file.display()
            )),
            Self::Run { .. } | Self::Options { .. } | Self::NotShown { .. } => None,
        }
    }
}

/// The name under which a key that is shown is noted.
const ALIAS: &str = "musher-enrols";

/// What ssh makes of a destination.
#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    /// The host as known_hosts has it.
    name: String,
    files: Vec<PathBuf>,
}

impl FoundHostKey {
    /// Finds the keys of `authority`: those that the user's ssh would accept, or
    /// else the one that the host shows. `scratch` is a directory of ours.
    ///
    /// # Errors
    ///
    /// A key that is marked as revoked is never one to accept. Authorities are not
    /// followed: a key that only they vouch for counts as unknown.
    pub async fn find(
        authority: &Authority,
        options: &SshOptions,
        scratch: &Path,
    ) -> Result<Self, HostKeyError> {
        let resolved = resolve(authority, options).await?;
        let mut known = Vec::new();
        let mut revoked = Vec::new();
        for file in resolved.files.iter().filter(|file| file.exists()) {
            let mut keygen = Command::new("ssh-keygen");
            keygen.arg("-F").arg(&resolved.name).arg("-f").arg(file);
            let output = run("ssh-keygen", &mut keygen).await?;
            for line in known_lines(&String::from_utf8_lossy(&output.stdout)) {
                match line {
                    KnownLine::Key(key) => known.push(key),
                    KnownLine::Revoked(key) => revoked.push((key, file.clone())),
                }
            }
        }
        known.dedup();
        known.retain(|known| revoked.iter().all(|(key, _)| key != known));
        if let Ok(key) = HostKey::from_lines(&known.join("\n")) {
            return Ok(Self { key, known: true });
        }
        let key = shown(authority, options, scratch).await?;
        let found = (revoked.into_iter()).find(|(bad, _)| key.lines().contains(bad));
        match found {
            None => Ok(Self { key, known: false }),
            Some((key, file)) => Err(HostKeyError::Revoked {
                fingerprint: fingerprint(&key).unwrap_or(key),
                file,
            }),
        }
    }

    /// The keys' fingerprints: `ED25519 SHA256:…`.
    pub fn fingerprints(&self) -> Vec<String> {
        let lines = self.key.lines().iter();
        lines.filter_map(|line| fingerprint(line)).collect()
    }
}

/// How ssh would reach a host.
async fn resolve(authority: &Authority, options: &SshOptions) -> Result<Resolved, HostKeyError> {
    let mut ssh = ssh(authority, options, &["-G"]);
    let output = run("ssh", &mut ssh).await?;
    if !output.status.success() {
        let said = words(&output.stderr);
        return Err(HostKeyError::Options { said });
    }
    Ok(parse_resolved(&String::from_utf8_lossy(&output.stdout)))
}

/// The key that the host shows; nobody logs in.
async fn shown(
    authority: &Authority,
    options: &SshOptions,
    scratch: &Path,
) -> Result<HostKey, HostKeyError> {
    let file = scratch.join("shown");
    let file_option = format!("UserKnownHostsFile=\"{}\"", file.display());
    let alias = format!("HostKeyAlias={ALIAS}");
    let timeout = options.connect_timeout.max(Duration::from_secs(1));
    let timeout = format!("ConnectTimeout={}", timeout.as_secs());
    let settings = [
        // A connection that is open already shows no key any more.
        "ControlPath=none",
        "BatchMode=yes",
        "PreferredAuthentications=none",
        "StrictHostKeyChecking=accept-new",
        "HashKnownHosts=no",
        "UpdateHostKeys=no",
        "GlobalKnownHostsFile=/dev/null",
        "ClearAllForwardings=yes",
        &file_option,
        &alias,
        &timeout,
    ];
    let mut arguments = vec!["-T", "-x", "-a", "-N"];
    for setting in settings {
        arguments.extend(["-o", setting]);
    }
    let mut ssh = ssh(authority, options, &arguments);
    let output = run("ssh", &mut ssh).await?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    // A file of the last time would be another host's.
    let _ = std::fs::remove_file(&file);
    let keys: Vec<String> = known_lines(&text)
        .filter_map(|line| match line {
            KnownLine::Key(key) => Some(key),
            KnownLine::Revoked(_) => None,
        })
        .collect();
    HostKey::from_lines(&keys.join("\n")).map_err(|_| HostKeyError::NotShown {
        said: words(&output.stderr),
    })
}

fn ssh(authority: &Authority, options: &SshOptions, arguments: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    let extra = options.extra.iter().filter(|word| *word != "-M");
    command.args(extra).args(arguments);
    if let Some(port) = authority.port {
        command.arg(format!("-p{port}"));
    }
    if let Some(user) = &authority.user {
        command.arg("-l").arg(user);
    }
    command.args([OsString::from("--"), authority.host.as_str().into()]);
    command
}

async fn run(program: &'static str, command: &mut Command) -> Result<Output, HostKeyError> {
    command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| HostKeyError::Run { program, source })
}

fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

/// What `ssh -G` printed.
fn parse_resolved(text: &str) -> Resolved {
    let values = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(key, value)| (key == wanted).then_some(value.trim()))
    };
    let host = values("hostname").unwrap_or_default();
    let name = match (values("hostkeyalias"), values("port")) {
        (Some(alias), _) if alias != "none" => alias.to_owned(),
        (_, None | Some("22")) => host.to_owned(),
        (_, Some(port)) => format!("[{host}]:{port}"),
    };
    let lists = ["userknownhostsfile", "globalknownhostsfile"];
    let files = lists.iter().filter_map(|list| values(list));
    Resolved {
        name,
        files: files
            .flat_map(|list| shell_words::split(list).unwrap_or_default())
            .map(PathBuf::from)
            .collect(),
    }
}

/// What a line of known_hosts says of a key, `TYPE BASE64`.
#[derive(Debug, PartialEq, Eq)]
enum KnownLine {
    /// The host has it.
    Key(String),
    /// No host may have it any more.
    Revoked(String),
}

/// The keys of known_hosts lines, without the hosts. A key of an authority is
/// none of a host's: a host proves itself by a certificate then, and what we pin
/// is a key.
fn known_lines(text: &str) -> impl Iterator<Item = KnownLine> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let host = words.next()?;
        if host.starts_with('#') {
            return None;
        }
        let key = format!("{} {}", words.next()?, words.next()?);
        match marker {
            None => Some(KnownLine::Key(key)),
            Some("@revoked") => Some(KnownLine::Revoked(key)),
            Some(_) => None,
        }
    };
    text.lines().filter_map(line)
}

/// The fingerprint of a line `TYPE BASE64`, as ssh shows it.
fn fingerprint(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let kind = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    let kind = kind.trim_start_matches("ssh-");
    let kind = kind.split('-').next().unwrap_or(kind).to_uppercase();
    let hash = STANDARD_NO_PAD.encode(Sha256::digest(blob));
    Some(format!("{kind} SHA256:{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_alias_or_address_and_port() {
        let name = |text: &str| parse_resolved(text).name;
        assert_eq!(name("hostname a.b\nport 22\n"), "a.b");
        assert_eq!(name("hostname ::1\nport 2222\n"), "[::1]:2222");
        assert_eq!(name("hostname a\nport 2222\nhostkeyalias x\n"), "x");
        let files = "userknownhostsfile /h/known \"/h/a b\"\nglobalknownhostsfile /etc/known";
        assert_eq!(parse_resolved(files).files.len(), 3);
    }

    #[test]
    fn keys_of_authorities_are_none_of_the_host() {
        let text = "# Host b found: line 1\nb ssh-ed25519 AAAA me\n@cert-authority *.x ssh-rsa \
                    AAAB\n@revoked b ssh-rsa AAAC\n|1|x=|y= ecdsa-sha2-nistp256 AAAD\n";
        let lines: Vec<KnownLine> = known_lines(text).collect();
        assert_eq!(
            lines,
            [
                KnownLine::Key("ssh-ed25519 AAAA".to_owned()),
                KnownLine::Revoked("ssh-rsa AAAC".to_owned()),
                KnownLine::Key("ecdsa-sha2-nistp256 AAAD".to_owned())
            ]
        );
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("key");
        let keygen = |args: &[&str]| {
            let mut command = std::process::Command::new("ssh-keygen");
            let output = command
                .args(args)
                .arg(&key)
                .output()
                .expect("ssh-keygen runs");
            String::from_utf8(output.stdout).expect("text")
        };
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f"]);
        let told = keygen(&["-l", "-f"]);
        let expected = told.split(' ').nth(1).expect("a fingerprint");
        let line = std::fs::read_to_string(key.with_extension("pub")).expect("read");
        assert_eq!(fingerprint(&line), Some(format!("ED25519 {expected}")));
    }
}
