//! Which outputs a derivation has, so that a path's derivers can be found.

use nix_derivation::StorePath;
use rusqlite::params;

use super::{LocalError, Session};
use crate::local::drv_hashes::read_derivation;
use crate::local::layout::Layout;

impl Session<'_> {
    /// Writes down the outputs that the derivation in the file of `path`
    /// declares, where their paths are known before it is built. An error if they
    /// are not its own.
    pub(super) fn add_derivation_outputs(
        &self,
        id: i64,
        path: &StorePath,
        layout: &Layout,
    ) -> Result<(), LocalError> {
        let derivation = read_derivation(path, layout)?;
        self.database.drv_hashes.check(path, &derivation, layout)?;
        let failed = |source| LocalError::Derivation {
            path: self.render(path),
            source,
        };
        for (name, output) in derivation.resolved_outputs().map_err(failed)? {
            if let Some(output) = output.path {
                self.add_derivation_output(id, &name, &output)?;
            }
        }
        Ok(())
    }

    fn add_derivation_output(
        &self,
        id: i64,
        name: &str,
        output: &StorePath,
    ) -> Result<(), LocalError> {
        let insert = || {
            self.prepare_cached(
                "insert or replace into DerivationOutputs (drv, id, path) values (?1, ?2, ?3)",
            )?
            .execute(params![id, name, self.render(output)])
        };
        insert().map_err(self.failed("register a derivation's output"))?;
        Ok(())
    }
}
