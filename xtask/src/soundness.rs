//! Whether Nix finds a store in order. Knows of no store in particular.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::run;

/// Has `nix_store`, a `nix-store` command to which a store may have been named,
/// verify that store with the contents of its paths.
pub(crate) fn verify(nix_store: &mut Command) -> Result<()> {
    let verified = run::outcome(nix_store.args(["--verify", "--check-contents"]))?;
    let told = run::both_streams(&verified);
    let complains = told.contains("error") || told.contains("warning");
    ensure!(
        verified.status.success() && !complains,
        "`nix-store --verify` complains\n{told}"
    );
    Ok(())
}
