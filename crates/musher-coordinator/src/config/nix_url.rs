//! The store URLs of machines, as far as the configuration looks into them.

use super::error::Problem;

/// Whether a URL is reached by ssh.
pub(super) fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://") || url.starts_with("ssh-ng://")
}

/// A store reference of a machines file as a URL: a bare host is reached by
/// ssh, as in Nix.
pub(super) fn complete(reference: &str) -> String {
    let bare = reference
        .split_once('?')
        .map_or(reference, |(bare, _)| bare);
    let is_store = reference.contains('/') || matches!(bare, "auto" | "daemon" | "local");
    if is_store {
        reference.to_owned()
    } else {
        format!("ssh://{reference}")
    }
}

/// The host of a URL, without user and port; the whole reference if it has
/// none.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split_once('?').map_or(rest, |(before, _)| before);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !bare.ends_with(':') => {
            bare
        }
        _ => host,
    }
}

/// Refuses a URL that cannot be a machine.
pub(super) fn check(url: &str) -> Result<(), Problem> {
    if is_own_entrance(url) {
        return Err(Problem::OwnEntrance {
            url: url.to_owned(),
        });
    }
    Ok(())
}

/// Whether a URL is a line of the builders file that `musher setup` writes:
/// a machines file that includes it would make the team its own member.
fn is_own_entrance(url: &str) -> bool {
    host(url) == "localhost" && url.contains("musher%20serve")
}
