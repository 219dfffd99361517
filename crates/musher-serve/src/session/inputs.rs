//! Inputs that are outputs of other builds and only where they were built. A
//! client on another host that was told of them takes them to be here, and does
//! not send them.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{BodyItem, RemoteError, Request, Response};
use musher_store::{StoreError, deaf, references_first};
use nix_derivation::StorePath;
use tracing::debug;

use super::Session;
use crate::coordinator::NarRead;
use crate::error::{ServeError, coordinator_error, home_error};
use crate::wire::unless_gone;

impl Session {
    /// Brings home those of `inputs`, and of what they refer to, that are on a
    /// machine and not at home. What cannot be had is left to whoever builds.
    pub(super) async fn bring_home(
        &mut self,
        inputs: &BTreeSet<StorePath>,
    ) -> Result<(), ServeError> {
        let mut infos = Vec::new();
        let mut machines = BTreeMap::new();
        let mut wanted = inputs.clone();
        let mut seen = BTreeSet::new();
        while !wanted.is_empty() {
            let mut references = BTreeSet::new();
            for path in self.not_at_home(&wanted).await? {
                if self.outputs.info(&path).is_none() {
                    self.other_output(&path).await?;
                }
                if let Some((info, machine)) = self.outputs.find(&path) {
                    references.extend(info.references.iter().cloned());
                    machines.insert(path, machine.to_owned());
                    infos.push(info.clone());
                }
            }
            seen.append(&mut wanted);
            wanted = references.difference(&seen).cloned().collect();
        }
        for info in references_first(infos) {
            let machine = machines.remove(&info.path).unwrap_or_default();
            let path = info.path.clone();
            if let Err(error) = self.import(info, machine).await? {
                let path = self.store_dir.render_path(&path);
                debug!(path, error = %error.message, "an input cannot be brought home");
                return Ok(());
            }
        }
        Ok(())
    }

    /// Those of `paths` that the home store has not.
    async fn not_at_home(
        &mut self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<Vec<StorePath>, ServeError> {
        let request = Request::QueryValidPaths {
            paths: paths.clone(),
            substitute: false,
        };
        Ok(match self.ask(vec![request]).await? {
            Ok(Response::Paths(valid)) => paths.difference(&valid).cloned().collect(),
            // Whoever builds will find out.
            Ok(_) | Err(_) => Vec::new(),
        })
    }

    /// Adds a path to the home store, from the machine where it is.
    async fn import(
        &mut self,
        info: PathInfo,
        machine: String,
    ) -> Result<Result<(), RemoteError>, ServeError> {
        let name = self.store_dir.render_path(&info.path);
        let mut nar = NarRead::new(name, machine, info.nar_size, 0);
        let home = match unless_gone(&mut self.client, self.home.connection()).await? {
            Ok(home) => home,
            Err(error) => return Ok(Err(home_error(error))),
        };
        let coordinator = &mut self.coordinator;
        let added = async {
            home.request(Request::AddToStoreNar {
                info,
                repair: false,
                dont_check_sigs: true,
            })?;
            loop {
                match nar.next(coordinator).await {
                    Ok(Some(bytes)) => home.body(BodyItem::Chunk(bytes)).await?,
                    Ok(None) => break,
                    Err(error) => return Ok(Err(coordinator_error(&error))),
                }
            }
            home.body(BodyItem::End).await?;
            Ok::<_, StoreError>(home.outcome(&mut deaf).await?.map(drop))
        };
        let added = unless_gone(&mut self.client, added).await?;
        if !matches!(added, Ok(Ok(()))) {
            // It may be in the middle of a NAR.
            self.home.disconnect();
        }
        Ok(added.unwrap_or_else(|error| Err(home_error(error))))
    }
}
