//! Logs of builds, put where Nix looks for them.

use musher_protocol::worker::{BodyItem, Request};
use musher_store::{StoreError, deaf};
use nix_derivation::StorePath;

use super::{Home, Place};
use crate::attempt_log::AttemptLog;

/// Why a log is not at home.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// It cannot be read.
    #[error("cannot read the build's log")]
    Read(#[source] std::io::Error),
    /// The nix-daemon does not take it.
    #[error("cannot have the nix-daemon keep the build's log")]
    Add(#[source] StoreError),
}

impl Home {
    /// Has Nix keep the log of a build of `drv`, which is complete: clients read
    /// it from their own disk. Where the home store is not Nix's there is nobody
    /// to give it to.
    pub(crate) async fn add_log(
        &self,
        drv: &StorePath,
        mut log: AttemptLog,
    ) -> Result<(), LogError> {
        let Place::Nix(store) = &self.place else {
            return Ok(());
        };
        let mut connection = store.connection().await.map_err(LogError::Add)?;
        let request = Request::AddBuildLog {
            drv_path: drv.clone(),
        };
        connection.request(request).map_err(LogError::Add)?;
        let mut offset = 0;
        while let Some(bytes) = log.read(offset).await.map_err(LogError::Read)? {
            offset += bytes.len() as u64;
            let chunk = connection.body(BodyItem::Chunk(bytes)).await;
            chunk.map_err(LogError::Add)?;
        }
        let end = connection.body(BodyItem::End).await;
        end.map_err(LogError::Add)?;
        connection.answer(&mut deaf).await.map_err(LogError::Add)?;
        store.give_back(connection);
        Ok(())
    }
}
