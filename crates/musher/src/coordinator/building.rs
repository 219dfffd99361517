//! What those ask of the coordinator who have something built. These calls take
//! as long as they take.

use futures_util::Stream;
use musher_api::coordinator as api;
use tonic::Streaming;

use super::{Coordinator, CoordinatorError};

impl Coordinator {
    /// Has derivations built. What happens comes as a stream; to drop it is to
    /// want nothing any more.
    pub(crate) async fn realise(
        &mut self,
        request: api::RealiseRequest,
    ) -> Result<Streaming<api::RealiseEvent>, CoordinatorError> {
        let answer = self.patient.realise(request).await;
        self.taken(answer)
    }

    /// Where the home store is.
    pub(crate) async fn home(&mut self) -> Result<api::HomeReply, CoordinatorError> {
        let answer = self.client.home(api::HomeRequest {}).await;
        self.taken(answer)
    }

    /// Those of `paths`, absolute, that are valid in the home store.
    pub(crate) async fn valid_paths(
        &mut self,
        paths: Vec<String>,
    ) -> Result<Vec<String>, CoordinatorError> {
        let answer = self
            .patient
            .valid_paths(api::ValidPathsRequest { paths })
            .await;
        self.taken(answer).map(|reply| reply.valid)
    }

    /// Adds paths to the home store; says how many were not valid before.
    pub(crate) async fn import(
        &mut self,
        parts: impl Stream<Item = api::ImportMessage> + Send + 'static,
    ) -> Result<u64, CoordinatorError> {
        let answer = self.patient.import(parts).await;
        self.taken(answer).map(|reply| reply.added)
    }

    /// Keeps what the link at the absolute path `link` leads to.
    pub(crate) async fn add_root(&mut self, link: String) -> Result<(), CoordinatorError> {
        let answer = self.client.add_root(api::AddRootRequest { link }).await;
        self.taken(answer).map(|api::AddRootReply {}| ())
    }

    /// The log of a derivation, or of the one that made an output.
    pub(crate) async fn read_log(
        &mut self,
        path: String,
    ) -> Result<Streaming<api::LogChunk>, CoordinatorError> {
        let answer = self.patient.read_log(api::ReadLogRequest { path }).await;
        self.taken(answer)
    }

    /// What a stream's error says.
    pub(crate) fn broken(&self, status: tonic::Status) -> CoordinatorError {
        self.refusal(status)
    }
}
