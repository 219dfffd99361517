//! `FindOutputs` and `ReadNar`: where an output is, and its bytes, from the
//! machine that built it.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use musher_api::coordinator as api;
use musher_scheduler::MachineId;
use musher_store::{NarStream, StoreError};
use nix_derivation::StorePath;
use tonic::Status;

use super::{Service, gone};
use crate::core::{Command, CoreHandle};

/// Those of `paths` that are outputs of builds that somebody follows, or
/// followed a moment ago.
pub(super) async fn find_outputs(
    service: &Service,
    paths: &[String],
) -> Result<api::FindOutputsReply, Status> {
    let mut outputs = Vec::new();
    for text in paths {
        let path = service.parse(text)?;
        let find = |reply| Command::Find { path, reply };
        if let Some((info, machine)) = service.core.ask(find).await.map_err(gone)? {
            outputs.push(api::FoundOutput {
                info: Some(api::PathInfo::from_value(&service.store_dir, &info)),
                machine: machine.to_string(),
            });
        }
    }
    Ok(api::FindOutputsReply { outputs })
}

/// Opens the NAR that `request` names, at its offset.
pub(super) async fn read_nar(
    service: &Service,
    request: &api::ReadNarRequest,
) -> Result<impl Stream<Item = Result<api::NarChunk, Status>> + Send + use<>, Status> {
    let path = service.parse(&request.path)?;
    let output = |reply| Command::Output {
        path: path.clone(),
        reply,
    };
    let ended = service.core.ask(output).await.map_err(gone)?;
    let waiting = (ended.as_ref())
        .filter(|ended| {
            let here = ended.machine.as_ref().map(MachineId::as_str);
            request.offset == 0 && here == Some(request.machine.as_str())
        })
        .and_then(|ended| ended.held.as_ref()?.take(&path));
    let nar = match waiting {
        Some(nar) => nar,
        None => {
            let machine = MachineId::from(request.machine.as_str());
            let reader = |reply| Command::Reader { machine, reply };
            let builder = service.core.ask(reader).await.map_err(gone)?;
            let Some(builder) = builder else {
                unreadable(&service.core, &path).await;
                let text = format!("no machine is called `{}`", request.machine);
                return Err(Status::not_found(text));
            };
            match builder.read_nar(&path).await {
                Ok(nar) => nar,
                Err(error) => return Err(lost(&service.core, &path, &error).await),
            }
        }
    };
    Ok(from_offset(nar, request.offset, service.core.clone(), path))
}

/// Takes note that `path` cannot be read, so that it can be built again.
async fn unreadable(core: &CoreHandle, path: &StorePath) {
    let path = path.clone();
    core.send(Command::Unreadable { path }).await;
}

async fn lost(core: &CoreHandle, path: &StorePath, error: &StoreError) -> Status {
    unreadable(core, path).await;
    Status::unavailable(crate::error_text(error))
}

/// The chunks of `nar`, which is that of `path`, without its first `offset`
/// bytes.
fn from_offset(
    nar: NarStream,
    offset: u64,
    core: CoreHandle,
    path: StorePath,
) -> impl Stream<Item = Result<api::NarChunk, Status>> + Send {
    stream::unfold(
        (nar, offset, core, path),
        async |(mut nar, mut skip, core, path)| {
            loop {
                let mut bytes: Bytes = match nar.next().await? {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let status = lost(&core, &path, &error).await;
                        return Some((Err(status), (nar, skip, core, path)));
                    }
                };
                let here = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                skip -= here as u64;
                let bytes = bytes.split_off(here);
                if !bytes.is_empty() {
                    return Some((Ok(api::NarChunk { bytes }), (nar, skip, core, path)));
                }
            }
        },
    )
}
