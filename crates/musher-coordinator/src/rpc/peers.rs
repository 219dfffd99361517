//! What users of this host may ask of the coordinator: to have built what they
//! could have built by the home store themselves, and to read what comes of it.
//! Who asks the kernel says.

use std::sync::Arc;

use musher_api::coordinator as api;
use musher_api::coordinator::coordinator_server::Coordinator;
use musher_protocol::types::BuildMode;
use musher_store::{User, own_drv_path};
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::Service;

/// Answers on `users.sock`.
pub(crate) struct PeerService(pub(crate) Arc<Service>);

impl PeerService {
    /// Whether `request` is for what anybody may have built: what is
    /// content-addressed, under a name that follows from it.
    fn is_proven(&self, request: &api::BuildRequest) -> bool {
        let dir = &self.0.store_dir;
        let Ok(drv_path) = dir.parse_path(request.drv_path.as_bytes()) else {
            return false;
        };
        let derivation = request.derivation.as_ref();
        let Some(Ok(derivation)) = derivation.map(|derivation| derivation.to_value(dir)) else {
            return false;
        };
        let mode = BuildMode::from(request.mode());
        mode != BuildMode::Repair && own_drv_path(dir, &drv_path, &derivation) == Ok(drv_path)
    }
}

/// Who made a request.
fn user<T>(request: &Request<T>) -> Result<User, Status> {
    let peer = request.extensions().get::<UdsConnectInfo>();
    let peer = peer.and_then(|peer| peer.peer_cred);
    let peer = peer.ok_or_else(|| Status::permission_denied("nobody knows who asks"))?;
    Ok(User {
        uid: peer.uid(),
        gid: peer.gid(),
    })
}

/// What is only for those who may use `control.sock`.
fn denied<T>(request: &Request<impl Sized>) -> Result<T, Status> {
    debug!(user = ?user(request), "a user asked for what is not for users");
    Err(Status::permission_denied(
        "only the coordinator's own user and root may ask this",
    ))
}

#[tonic::async_trait]
impl Coordinator for PeerService {
    type BuildStream = <Service as Coordinator>::BuildStream;
    type ReadNarStream = <Service as Coordinator>::ReadNarStream;
    type RealiseStream = <Service as Coordinator>::RealiseStream;
    type ReadLogStream = <Service as Coordinator>::ReadLogStream;

    async fn build(
        &self,
        mut request: Request<api::BuildRequest>,
    ) -> Result<Response<Self::BuildStream>, Status> {
        // Whose processes are whose is for others to say.
        request.get_mut().client = None;
        if !self.is_proven(request.get_ref()) && !self.0.home.trusts(user(&request)?).await {
            return Err(Status::permission_denied(
                "you are not privileged to build input-addressed derivations",
            ));
        }
        self.0.build(request).await
    }

    async fn foresee(
        &self,
        request: Request<api::ForeseeRequest>,
    ) -> Result<Response<api::ForeseeReply>, Status> {
        denied(&request)
    }

    async fn valid_paths(
        &self,
        request: Request<api::ValidPathsRequest>,
    ) -> Result<Response<api::ValidPathsReply>, Status> {
        self.0.valid_paths(request).await
    }

    async fn find_outputs(
        &self,
        request: Request<api::FindOutputsRequest>,
    ) -> Result<Response<api::FindOutputsReply>, Status> {
        self.0.find_outputs(request).await
    }

    async fn read_nar(
        &self,
        request: Request<api::ReadNarRequest>,
    ) -> Result<Response<Self::ReadNarStream>, Status> {
        self.0.read_nar(request).await
    }

    async fn realise(
        &self,
        request: Request<api::RealiseRequest>,
    ) -> Result<Response<Self::RealiseStream>, Status> {
        self.0.realise(request).await
    }

    async fn home(
        &self,
        request: Request<api::HomeRequest>,
    ) -> Result<Response<api::HomeReply>, Status> {
        self.0.home(request).await
    }

    async fn import(
        &self,
        request: Request<Streaming<api::ImportMessage>>,
    ) -> Result<Response<api::ImportReply>, Status> {
        denied(&request)
    }

    async fn add_root(
        &self,
        request: Request<api::AddRootRequest>,
    ) -> Result<Response<api::AddRootReply>, Status> {
        denied(&request)
    }

    async fn read_log(
        &self,
        request: Request<api::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        denied(&request)
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusReply>, Status> {
        denied(&request)
    }

    async fn history(
        &self,
        request: Request<api::HistoryRequest>,
    ) -> Result<Response<api::HistoryReply>, Status> {
        denied(&request)
    }

    async fn why(
        &self,
        request: Request<api::WhyRequest>,
    ) -> Result<Response<api::WhyReply>, Status> {
        denied(&request)
    }

    async fn explain(
        &self,
        request: Request<api::ExplainRequest>,
    ) -> Result<Response<api::ExplainReply>, Status> {
        denied(&request)
    }

    async fn drain(
        &self,
        request: Request<api::DrainRequest>,
    ) -> Result<Response<api::DrainReply>, Status> {
        denied(&request)
    }

    async fn reload(
        &self,
        request: Request<api::ReloadRequest>,
    ) -> Result<Response<api::ReloadReply>, Status> {
        denied(&request)
    }
}
