//! `ReadNar`: an output's bytes, from the machine that built it.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use musher_api::coordinator as api;
use musher_scheduler::MachineId;
use musher_store::{NarStream, StoreError};
use tonic::Status;

use super::{Service, gone};
use crate::core::Command;

/// Opens the NAR that `request` names, at its offset.
pub(super) async fn read_nar(
    service: &Service,
    request: &api::ReadNarRequest,
) -> Result<impl Stream<Item = Result<api::NarChunk, Status>> + Send + use<>, Status> {
    let path = service.store_dir.parse_path(request.path.as_bytes());
    let path = path.map_err(|error| {
        Status::invalid_argument(format!("bad `path` `{}`: {error}", request.path))
    })?;
    let output = |reply| Command::Output {
        path: path.clone(),
        reply,
    };
    let ended = service.core.ask(output).await.map_err(gone)?;
    let waiting = (ended.as_ref())
        .filter(|_| request.offset == 0)
        .and_then(|ended| ended.held.as_ref()?.take(&path));
    let nar = match waiting {
        Some(nar) => nar,
        None => {
            let machine = MachineId::from(request.machine.as_str());
            let reader = |reply| Command::Reader { machine, reply };
            let builder = service
                .core
                .ask(reader)
                .await
                .map_err(gone)?
                .ok_or_else(|| {
                    Status::not_found(format!("no machine is called `{}`", request.machine))
                })?;
            builder
                .read_nar(&path)
                .await
                .map_err(|error| lost(&error))?
        }
    };
    Ok(from_offset(nar, request.offset))
}

fn lost(error: &StoreError) -> Status {
    Status::unavailable(crate::error_text(error))
}

/// The chunks of `nar` without its first `offset` bytes.
fn from_offset(
    nar: NarStream,
    offset: u64,
) -> impl Stream<Item = Result<api::NarChunk, Status>> + Send {
    stream::unfold((nar, offset), async |(mut nar, mut skip)| {
        loop {
            let mut bytes: Bytes = match nar.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some((Err(lost(&error)), (nar, skip))),
            };
            let here = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= here as u64;
            let bytes = bytes.split_off(here);
            if !bytes.is_empty() {
                return Some((Ok(api::NarChunk { bytes }), (nar, skip)));
            }
        }
    })
}
