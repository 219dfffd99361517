//! The NAR of an output, read to its end whatever becomes of the coordinator
//! meanwhile. Knows nothing of the client.

use bytes::Bytes;
use musher_api::coordinator as api;
use tonic::Streaming;

use super::link::{Client, Reached};
use super::{Coordinator, CoordinatorError, is_passing};

/// How often a coordinator that is there may fail to read on: for about 6 s, in
/// which it finds its machines again after a restart.
const TRIES: u32 = 10;

/// A NAR that is being read.
#[derive(Debug)]
pub(crate) struct NarRead {
    /// What is asked for: the path, where, and from which byte on.
    request: api::ReadNarRequest,
    /// The bytes that there are.
    nar_size: u64,
    chunks: Option<Streaming<api::NarChunk>>,
    /// Failures since the last byte.
    failures: u32,
}

impl NarRead {
    /// Will read the `nar_size` bytes of `path` (absolute) from `machine`,
    /// without the first `offset`.
    pub(crate) fn new(path: String, machine: String, nar_size: u64, offset: u64) -> Self {
        let request = api::ReadNarRequest {
            path,
            offset,
            machine,
        };
        Self {
            request,
            nar_size,
            chunks: None,
            failures: 0,
        }
    }

    /// The bytes that were read, or left out, so far.
    pub(crate) fn offset(&self) -> u64 {
        self.request.offset
    }

    /// The next bytes; none at the end.
    pub(crate) async fn next(
        &mut self,
        coordinator: &mut Coordinator,
    ) -> Result<Option<Bytes>, CoordinatorError> {
        while self.request.offset < self.nar_size {
            let read = match &mut self.chunks {
                Some(chunks) => chunks.message().await,
                None => match self.open(coordinator).await? {
                    Some(Ok(chunks)) => {
                        self.chunks = Some(chunks);
                        continue;
                    }
                    Some(Err(status)) => Err(status),
                    None => continue,
                },
            };
            match read {
                Ok(Some(chunk)) => {
                    coordinator.answered();
                    return self.take(chunk.bytes).map(Some);
                }
                Ok(None) => {
                    self.retry(coordinator, "the machine sent too little")?;
                }
                Err(status) if is_passing(&status) => {
                    self.retry(coordinator, status.message())?;
                }
                Err(status) => return Err(self.lost(status.message())),
            }
        }
        Ok(None)
    }

    async fn open(
        &self,
        coordinator: &mut Coordinator,
    ) -> Result<Option<Result<Streaming<api::NarChunk>, tonic::Status>>, CoordinatorError> {
        match coordinator.reach().await? {
            Reached::Client(client) => Ok(Some(open(client, self.request.clone()).await)),
            Reached::Tell | Reached::Away => Ok(None),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Bytes, CoordinatorError> {
        self.failures = 0;
        self.request.offset += bytes.len() as u64;
        if self.request.offset > self.nar_size {
            return Err(CoordinatorError::NarTooLong {
                path: self.request.path.clone(),
                size: self.nar_size,
            });
        }
        Ok(bytes)
    }

    /// Only failures of a coordinator that can be reached count: an absent one
    /// is waited for.
    fn retry(
        &mut self,
        coordinator: &mut Coordinator,
        message: &str,
    ) -> Result<(), CoordinatorError> {
        self.chunks = None;
        self.failures += 1;
        if self.failures == TRIES {
            return Err(self.lost(message));
        }
        // Nobody can be told in the middle of a NAR.
        coordinator.lost();
        Ok(())
    }

    fn lost(&self, message: &str) -> CoordinatorError {
        CoordinatorError::NarLost {
            path: self.request.path.clone(),
            machine: self.request.machine.clone(),
            message: message.to_owned(),
        }
    }
}

async fn open(
    mut client: Client,
    request: api::ReadNarRequest,
) -> Result<Streaming<api::NarChunk>, tonic::Status> {
    Ok(client.read_nar(request).await?.into_inner())
}
