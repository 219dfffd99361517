//! `ReadLog`: the log of a derivation's newest build.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use musher_api::coordinator as api;
use nix_derivation::StorePath;
use tonic::Status;

use super::{Service, gone};
use crate::attempt_log::AttemptLog;
use crate::core::Command;

/// Bytes given at once.
const CHUNK: usize = 64 << 10;

/// The log of `path`, a derivation or an output of one.
pub(super) async fn read_log(
    service: &Service,
    path: &str,
) -> Result<BoxStream<'static, Result<api::LogChunk, Status>>, Status> {
    let path = service.parse(path)?;
    let drv = match path.is_derivation() {
        true => path,
        false => deriver(service, &path).await?,
    };
    let newest = |reply| Command::Log {
        drv: drv.clone(),
        reply,
    };
    if let Some(log) = service.core.ask(newest).await.map_err(gone)? {
        return Ok(as_it_is_written(log).boxed());
    }
    let file = service.logs.open(&drv).map_err(|error| {
        Status::internal(format!("cannot open the log of `{}`: {error}", drv.name()))
    })?;
    let file = file.ok_or_else(|| {
        let path = service.store_dir.render_path(&drv);
        Status::not_found(format!("there is no log of `{path}`"))
    })?;
    Ok(as_it_was_kept(file).boxed())
}

async fn deriver(service: &Service, path: &StorePath) -> Result<StorePath, Status> {
    let find = |reply| Command::Find {
        path: path.clone(),
        reply,
    };
    let built = service.core.ask(find).await.map_err(gone)?;
    let info = match built {
        Some((info, _)) => Some(info),
        None => {
            let infos = service.home.store().path_infos(std::slice::from_ref(path));
            let infos = infos
                .await
                .map_err(|error| Status::unavailable(crate::error_text(&error)))?;
            infos.into_iter().next()
        }
    };
    let shown = || service.store_dir.render_path(path);
    let info = info.ok_or_else(|| {
        Status::not_found(format!("`{}` is not valid in the home store", shown()))
    })?;
    let none = || Status::not_found(format!("nobody knows what built `{}`", shown()));
    info.deriver.ok_or_else(none)
}

fn as_it_is_written(
    log: AttemptLog,
) -> impl futures_util::Stream<Item = Result<api::LogChunk, Status>> + Send {
    stream::unfold(Some((log, 0)), async |state| {
        let (mut log, offset) = state?;
        match log.read(offset).await {
            Ok(Some(bytes)) => {
                let offset = offset + bytes.len() as u64;
                Some((Ok(api::LogChunk { bytes }), Some((log, offset))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(unreadable(&error)), None)),
        }
    })
}

fn as_it_was_kept(
    file: File,
) -> impl futures_util::Stream<Item = Result<api::LogChunk, Status>> + Send {
    stream::unfold(Some((file, 0)), async |state| {
        let (file, offset) = state?;
        let mut bytes = vec![0; CHUNK];
        match file.read_at(&mut bytes, offset) {
            Ok(0) => None,
            Ok(count) => {
                bytes.truncate(count);
                let bytes = Bytes::from(bytes);
                Some((
                    Ok(api::LogChunk { bytes }),
                    Some((file, offset + count as u64)),
                ))
            }
            Err(error) => Some((Err(unreadable(&error)), None)),
        }
    })
}

fn unreadable(error: &std::io::Error) -> Status {
    Status::internal(format!("cannot read the log: {error}"))
}
