//! Logging in on a machine as its user does, with its host key pinned.

use std::path::Path;

use musher_coordinator::enrol::{FoundHostKey, HostKeyError, Login, LoginError};
use musher_store::ssh::SshTarget;
use musher_store::url::{Authority, HostKey, UrlError};

use super::story::Story;
use crate::context::Context;
use crate::failure::Failure;
use crate::remotes::Remotes;

/// How a host key is found right that the user's ssh does not know.
#[derive(Debug, Clone)]
pub(super) enum Trust<'a> {
    /// Somebody is asked.
    Ask,
    /// Whatever is shown first is right.
    FirstUse,
    /// It has this fingerprint.
    Fingerprint(&'a str),
    /// It is this one, as the configuration has it.
    Pinned(HostKey),
}

#[derive(Debug, thiserror::Error)]
enum VisitError {
    #[error("cannot understand `{text}` as a machine")]
    Authority { text: String, source: UrlError },
    #[error("`localhost` is this host, and is not reached by ssh")]
    Localhost,
    #[error("cannot find out the host key of `{authority}`")]
    HostKey {
        authority: String,
        source: HostKeyError,
    },
    #[error("the host key has another fingerprint: `{found}`")]
    OtherKey { found: String },
    #[error("the host key was not accepted")]
    Declined,
}

/// Reads `[USER@]HOST[:PORT]`, also behind `ssh://`.
pub(super) fn authority(text: &str) -> Result<Authority, Failure> {
    let plain = text.strip_prefix("ssh://").unwrap_or(text);
    let authority = Authority::parse(plain).map_err(|source| {
        let help = "it is `[USER@]HOST[:PORT]`, as in `you@bigbox:2222`";
        let text = text.to_owned();
        Failure::user(VisitError::Authority { text, source }).help(help.to_owned())
    })?;
    if authority.host.is_localhost() {
        let help = "this host builds by a `[[machine]]` with `connect = \"local\"`; to go through \
                    its sshd all the same, name it `127.0.0.1`";
        return Err(Failure::user(VisitError::Localhost).help(help.to_owned()));
    }
    Ok(authority)
}

/// Finds the key that the host proves itself by, and makes sure that it is right.
pub(super) async fn host_key(
    context: &Context,
    remotes: &Remotes,
    story: &mut Story,
    authority: &Authority,
    trust: &Trust<'_>,
) -> Result<HostKey, Failure> {
    if let Trust::Pinned(key) = trust {
        let found = FoundHostKey {
            key: key.clone(),
            known: true,
        };
        let shown = found.fingerprints().join(", ");
        story.tell("host key", format!("{shown}, as configured"))?;
        return Ok(found.key);
    }
    let options = remotes.ssh_options();
    let scratch = options.control_dir.path();
    let found = FoundHostKey::find(authority, options, scratch).await;
    let found = match found {
        Ok(found) => found,
        Err(error @ HostKeyError::Revoked { .. }) => return Err(no_host_key(authority, error)),
        // ssh's own words, where it is not the key that is missing.
        Err(error) => {
            let other = unreachable(remotes, authority).await;
            return Err(other.unwrap_or_else(|| no_host_key(authority, error)));
        }
    };
    let prints = found.fingerprints();
    let shown = prints.join(", ");
    let how = match trust {
        Trust::Fingerprint(wanted) => {
            let is_it = |print: &String| print.split(' ').any(|word| word == *wanted);
            if !prints.iter().any(is_it) {
                return Err(Failure::user(VisitError::OtherKey { found: shown }));
            }
            "as you said"
        }
        Trust::Ask | Trust::FirstUse | Trust::Pinned(_) if found.known => "known to your ssh",
        Trust::FirstUse => "accepted on first use",
        Trust::Ask | Trust::Pinned(_) => {
            let question = format!("`{authority}` has the host key {shown}; is that right?");
            let help = "`--yes` accepts it, `--host-key FINGERPRINT` accepts only the right one";
            if !context.ui.confirm(&question, help)? {
                return Err(Failure::user(VisitError::Declined));
            }
            "accepted"
        }
    };
    story.tell("host key", format!("{shown}, {how}"))?;
    Ok(found.key)
}

fn no_host_key(authority: &Authority, source: HostKeyError) -> Failure {
    let help = source.help();
    let authority = authority.to_string();
    Failure::environment(VisitError::HostKey { authority, source }).help(help)
}

/// Why a host cannot be connected to, if it is for another reason than its key.
async fn unreachable(remotes: &Remotes, authority: &Authority) -> Option<Failure> {
    let target = target(authority, None, None);
    let options = remotes.ssh_options().clone();
    let error = remotes.link(target, options).connect().await.err()?;
    let help = error.help();
    Some(Failure::environment(error).help(help))
}

/// Logs in as the user's own ssh does; it may ask for a password.
pub(super) async fn login(
    remotes: &Remotes,
    authority: &Authority,
    host_key: &HostKey,
) -> Result<Login, Failure> {
    let mut options = remotes.ssh_options().clone();
    options.interactive = true;
    let target = target(authority, Some(host_key), None);
    let login = Login::new(remotes.link(target, options));
    login.connect().await.map_err(login_failure)?;
    Ok(login)
}

/// Who to connect to, and how.
pub(super) fn target(
    authority: &Authority,
    host_key: Option<&HostKey>,
    key: Option<&Path>,
) -> SshTarget {
    SshTarget {
        authority: authority.clone(),
        key: key.map(Path::to_path_buf),
        host_key: host_key.cloned(),
        compress: false,
    }
}

pub(super) fn login_failure(error: LoginError) -> Failure {
    let help = error.help();
    let is_users = matches!(error, LoginError::Unrestricted { .. });
    Failure::of(is_users, error).help(help)
}

/// The name of this host, by which its lines are known in `authorized_keys`.
pub(super) fn this_host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
