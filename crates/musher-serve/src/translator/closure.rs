//! `QueryClosure`: what some paths need, found step by step.

use std::collections::BTreeSet;

use musher_protocol::worker::{self, Response};
use nix_derivation::StorePath;

use super::Translator;
use super::ask::odd;
use crate::error::ServeError;

impl Translator {
    /// `roots` and all they refer to; with `outputs`, also the valid outputs
    /// of the derivations among them, and what those refer to.
    pub(super) async fn closure(
        &mut self,
        roots: BTreeSet<StorePath>,
        outputs: bool,
    ) -> Result<BTreeSet<StorePath>, ServeError> {
        let mut closure = BTreeSet::new();
        let mut edge: Vec<_> = roots.into_iter().collect();
        while !edge.is_empty() {
            closure.extend(edge.iter().cloned());
            let infos = self.path_infos(edge.clone()).await?;
            let mut found = BTreeSet::new();
            for (path, info) in edge.iter().zip(infos) {
                let info = info.ok_or_else(|| {
                    let path = self.store_dir.render_path(path);
                    ServeError::Failed(format!("path `{path}` is not valid"))
                })?;
                found.extend(info.references);
            }
            if outputs {
                found.extend(self.valid_outputs(&edge).await?);
            }
            edge = found.difference(&closure).cloned().collect();
        }
        Ok(closure)
    }

    async fn valid_outputs(
        &mut self,
        paths: &[StorePath],
    ) -> Result<BTreeSet<StorePath>, ServeError> {
        let derivations = paths.iter().filter(|path| path.is_derivation()).cloned();
        let requests: Vec<_> = derivations
            .map(worker::Request::QueryDerivationOutputMap)
            .collect();
        if requests.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut outputs = BTreeSet::new();
        for answer in self.ask_all(requests).await? {
            let Response::OutputMap(map) = answer else {
                return Err(odd(&answer));
            };
            outputs.extend(map.into_values().flatten());
        }
        self.valid_paths(outputs, false, false).await
    }
}
