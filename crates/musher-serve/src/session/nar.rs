//! The NARs of this session's outputs, from where they were built. A build
//! whose outputs were lost is made once more, if it makes the same.

use std::time::Duration;

use musher_protocol::types::PathInfo;
use musher_protocol::worker::RemoteError;
use nix_derivation::StorePath;
use tracing::warn;

use super::Session;
use crate::client::NarAnswer;
use crate::coordinator::{Build, CoordinatorError, NarRead, News};
use crate::error::{ServeError, coordinator_error};
use crate::outputs::{Finished, Located};
use crate::wire::unless_gone;

/// How often one output is built again.
const REBUILDS: u32 = 3;

/// What the coordinator needs to notice the end of a stream, and more.
const MOMENT: Duration = Duration::from_millis(200);

impl Session {
    /// What is known of `path`, an output of a build that another session
    /// follows or followed: Nix 2.26 closes its connection after a build's first
    /// output and fetches the next on another. Nothing if it is none, or if the coordinator cannot say so at once.
    pub(super) async fn other_output(
        &mut self,
        path: &StorePath,
    ) -> Result<Option<PathInfo>, ServeError> {
        let name = self.store_dir.render_path(path);
        let found = self.coordinator.find_output(name);
        let found = unless_gone(&mut self.client, found).await?;
        let Some((info, machine)) = found else {
            return Ok(None);
        };
        match info.to_value(&self.store_dir) {
            Ok(info) if info.path == *path => {
                let known = info.clone();
                self.outputs.borrow(Located { info, machine });
                Ok(Some(known))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Answers the client with the NAR of `path`, an output of this session.
    pub(super) async fn output_nar(&mut self, path: &StorePath) -> Result<(), ServeError> {
        let name = self.store_dir.render_path(path);
        let mut answer = NarAnswer::new(name.clone());
        let mut sent = 0;
        let mut rebuilds = 0;
        loop {
            let Some((info, machine)) = self.outputs.find(path) else {
                return answer.fail(&mut self.client, &lost(&name));
            };
            let mut read = NarRead::new(name.clone(), machine.to_owned(), info.nar_size, sent);
            let error = loop {
                let next = read.next(&mut self.coordinator);
                match unless_gone(&mut self.client, next).await? {
                    Ok(Some(bytes)) => answer.send(&mut self.client, &bytes).await?,
                    Ok(None) => return answer.end(&mut self.client),
                    Err(error) => break error,
                }
            };
            if !matches!(error, CoordinatorError::NarLost { .. }) || rebuilds == REBUILDS {
                return answer.fail(&mut self.client, &coordinator_error(&error));
            }
            warn!(%error, "an output is lost: it is built again");
            rebuilds += 1;
            sent = read.offset();
            if let Err(error) = self.rebuild(path).await? {
                return answer.fail(&mut self.client, &error);
            }
        }
    }

    /// Builds what made `path` again, under an order of its own.
    async fn rebuild(&mut self, path: &StorePath) -> Result<Result<(), RemoteError>, ServeError> {
        let name = self.store_dir.render_path(path);
        let before = self.outputs.info(path).cloned();
        let (Some(before), Some(old)) = (before, self.outputs.take(path)) else {
            return Ok(Err(lost(&name)));
        };
        let Finished {
            build, drv_path, ..
        } = old;
        let mut again = Build::new(build.order().anew());
        // The old interest would keep the coordinator from starting over. That
        // it is gone is noticed there a moment later.
        drop(build);
        unless_gone(&mut self.client, tokio::time::sleep(MOMENT)).await?;
        let ended = loop {
            let next = again.next(&mut self.coordinator);
            match unless_gone(&mut self.client, next).await? {
                Ok(News::Ended(ended)) => break ended,
                // The client has seen all this once.
                Ok(
                    News::CoordinatorAway
                    | News::Waiting(_)
                    | News::Started { .. }
                    | News::Unread { .. }
                    | News::Log(_),
                ) => {}
                Err(error) => return Ok(Err(coordinator_error(&error))),
            }
        };
        let (result, infos) = match ended.to_value(&self.store_dir) {
            Ok(value) => value,
            Err(error) => return Ok(Err(coordinator_error(&CoordinatorError::Message(error)))),
        };
        if !infos.values().any(|info| is_same(info, &before)) {
            return Ok(Err(RemoteError::new(format!(
                "`{name}` was lost, and building it again made something else: {}",
                result.error
            ))));
        }
        self.outputs.keep(Finished {
            build: again,
            drv_path,
            machine: ended.machine,
            result,
            infos,
        });
        Ok(Ok(()))
    }
}

fn is_same(one: &PathInfo, other: &PathInfo) -> bool {
    one.path == other.path && one.nar_hash == other.nar_hash && one.nar_size == other.nar_size
}

fn lost(path: &str) -> RemoteError {
    RemoteError::new(format!("output `{path}` is not there any more"))
}
