//! The golden vectors of Nix's own tests, which travel beside the repository
//! and not in it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read files, and may panic"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;

/// A folder of vectors, where there is one. Without it the caller's checks are
/// skipped, out loud; a run with `CI=true` fails instead.
fn folder(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MUSHER_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("vectors").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let missing = format!(
        "the golden vectors of `{name}` are not in `{}`",
        shared.display()
    );
    assert!(
        std::env::var_os("CI").is_none_or(|it| it != "true"),
        "{missing}"
    );
    skipped(&missing);
    None
}

/// What to do with the bytes of one vector.
pub(crate) type Check = (&'static str, fn(&[u8]));

/// Runs each check on the vector that it names, and sees to it that none of
/// the folder is left out.
#[track_caller]
pub(crate) fn check_folder(name: &str, checks: &[Check]) {
    let Some(folder) = folder(name) else {
        return;
    };
    for (vector, check) in checks {
        let bytes = std::fs::read(folder.join(format!("{vector}.bin")));
        let bytes = bytes.unwrap_or_else(|error| panic!("cannot read `{vector}`: {error}"));
        check(&bytes);
    }
    let known: BTreeSet<&str> = checks.iter().map(|(vector, _)| *vector).collect();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if let Some(vector) = file.strip_suffix(".bin") {
            assert!(known.contains(vector), "`{name}/{vector}` is not checked");
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped check has to be seen")]
fn skipped(missing: &str) {
    eprintln!("skipped: {missing}");
}
