//! One build on a worker by somebody who tries it out: no inputs to send, no
//! second connection to find it on.

use musher_api::coordinator;
use musher_api::worker as api;
use musher_api::worker::attempt_event::Event;
use musher_protocol::types::{BasicDerivation, BuildResult, BuildStatus};
use musher_store::StoreError;
use nix_derivation::StorePath;
use tonic::{Status, Streaming};

use super::session::Session;

const ATTEMPT: &str = "build";

/// How much of the log is kept, in bytes.
const KEPT: usize = 4096;

/// A build that was tried.
#[derive(Debug, Clone)]
pub struct Tried {
    /// How it ended. What was the machine's fault is an error instead.
    pub result: BuildResult,
    /// The last lines of its log.
    pub log: Vec<String>,
    /// Whether it ran in a sandbox.
    pub sandboxed: bool,
}

impl Session {
    /// Has `derivation` built, which needs no inputs but `sandbox_paths`, as in
    /// the setting. Its outputs are garbage afterwards.
    pub async fn try_build(
        &self,
        drv_path: &StorePath,
        derivation: &BasicDerivation,
        sandbox_paths: &[String],
    ) -> Result<Tried, StoreError> {
        let dir = self.store_dir();
        let request = api::AttemptRequest {
            lease: u64::from(rand::random::<u32>()) + 1,
            order: Some(api::Order {
                drv_path: dir.render_path(drv_path),
                derivation: Some(coordinator::Derivation::from_value(dir, derivation)),
                sandbox_paths: sandbox_paths.to_vec(),
                ..api::Order::default()
            }),
            ..api::AttemptRequest::default()
        };
        let lease = request.lease;
        let tried = match self.control().attempt(request).await {
            Ok(events) => self.tried(events.into_inner()).await,
            Err(status) => Err(self.failure(ATTEMPT, &status).await),
        };
        let leases = vec![lease];
        // If that fails, it is let go when we have been away for long enough.
        let _ = self.control().release(api::ReleaseRequest { leases }).await;
        tried
    }

    async fn tried(&self, mut events: Streaming<api::AttemptEvent>) -> Result<Tried, StoreError> {
        let mut log = Vec::new();
        let refused = |text: &str| super::refused(ATTEMPT, &Status::unknown(text));
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event.event,
                Ok(None) => return Err(refused("it hung up")),
                Err(status) => return Err(self.failure(ATTEMPT, &status).await),
            };
            match event {
                Some(Event::Log(api::Log { bytes, .. })) => {
                    log.extend_from_slice(&bytes);
                    log.drain(..log.len().saturating_sub(KEPT));
                }
                Some(Event::Missing(_)) => return Err(refused("inputs are missing")),
                Some(Event::Ended(ended)) => {
                    if ended.fault() != api::Fault::None {
                        return Err(refused(&ended.fault_text));
                    }
                    let Some(result) = &ended.result else {
                        return Err(refused("an end without its result"));
                    };
                    let value = result.to_value(self.store_dir());
                    let (result, _) = value.unwrap_or_else(|error| {
                        let text = error.to_string();
                        (BuildResult::new(BuildStatus::MiscFailure, text), [].into())
                    });
                    let text = String::from_utf8_lossy(&log);
                    return Ok(Tried {
                        result,
                        log: text.lines().map(ToOwned::to_owned).collect(),
                        sandboxed: ended.usage.is_some_and(|usage| usage.sandboxed),
                    });
                }
                Some(Event::Started(_)) | None => {}
            }
        }
    }
}
