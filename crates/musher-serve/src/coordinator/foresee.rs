//! Tells the coordinator what else the client is about to have built. Nobody
//! waits for that, and nothing depends on it.

use std::io;

use musher_api::coordinator as api;
use tokio::task::spawn_blocking;
use tonic::Status;
use tracing::debug;

use super::Coordinator;
use super::link::Client;
use crate::client_process::ClientProcess;

/// Derivations in one message.
const MOST: usize = 10_000;

/// Why it was not told.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error("cannot read the client's temporary roots")]
    Read(#[source] io::Error),
    #[error("the coordinator does not take them: {0}")]
    Refused(Status),
}

impl Coordinator {
    /// Tells what `process` has among its temporary roots from `from` on. Goes
    /// on beside whatever else happens.
    pub(crate) fn foresee(&self, process: ClientProcess, from: u64) {
        let Some(client) = self.open_channel() else {
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = tell(client, process, from).await {
                debug!(%error, "the client's request is not foreseen");
            }
        });
    }
}

async fn tell(mut client: Client, process: ClientProcess, from: u64) -> Result<(), NotTold> {
    let message = process.to_message();
    let read = spawn_blocking(move || process.read(from)).await;
    let read = read.map_err(io::Error::other).and_then(|read| read);
    let (part, length) = read.map_err(NotTold::Read)?;
    let resume = from + part.settled as u64;
    let mut derivations = part.intended.into_iter().map(|(drv_path, outputs)| {
        let outputs = outputs.into_iter().collect();
        api::IntendedDerivation { drv_path, outputs }
    });
    loop {
        let some: Vec<_> = derivations.by_ref().take(MOST).collect();
        let last = some.len() < MOST;
        let request = api::ForeseeRequest {
            client: Some(message),
            derivations: some,
            read: last.then_some(api::TempRootsRead { length, resume }),
        };
        (client.foresee(request).await).map_err(NotTold::Refused)?;
        if last {
            return Ok(());
        }
    }
}
