//! What follows from the version of the protocol that a machine speaks, and
//! which Nix this host has.

use musher_protocol::{serve, worker};

use super::peer::Spoken;

/// The version of Nix on this host, if it has one.
pub(super) async fn nix_of_this_host() -> Option<String> {
    let mut command = tokio::process::Command::new("nix-daemon");
    let output = command.arg("--version").kill_on_drop(true).output();
    let output = output.await.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `nix-daemon (Nix) 2.8.0`; Lix and others differ before the last word.
    text.lines()
        .next()?
        .split_whitespace()
        .last()
        .map(str::to_owned)
}

/// What does not work with this version, or not well.
pub(super) fn warnings(spoken: &Spoken) -> Vec<String> {
    let mut warnings = Vec::new();
    let has_content_addressed = match spoken {
        Spoken::Worker(version) => version.has(28),
        Spoken::Serve(version) => *version >= serve::Version::new(6),
        Spoken::Musher => true,
    };
    if !has_content_addressed {
        warnings.push(
            "it is too old to say where floating content-addressed outputs are; leave \
             `ca-derivations` out of its features"
                .to_owned(),
        );
    }
    if let Spoken::Worker(version) = spoken
        && *version < worker::Version::minor(32)
    {
        warnings.push("it is too old to take several inputs in one piece".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_have_consequences() {
        let count = |spoken| warnings(&spoken).len();
        assert_eq!(count(Spoken::Worker(worker::Version::minor(38))), 0);
        assert_eq!(count(Spoken::Worker(worker::Version::minor(34))), 0);
        assert_eq!(count(Spoken::Worker(worker::Version::minor(31))), 1);
        assert_eq!(count(Spoken::Worker(worker::Version::minor(21))), 2);
        assert_eq!(count(Spoken::Serve(serve::Version::new(7))), 0);
        assert_eq!(count(Spoken::Serve(serve::Version::new(5))), 1);
    }
}
