//! The gRPC face of the core: messages in, commands to the core, messages out.
//! Decides nothing.

mod build;
mod explained;
mod foresee;
mod home;
mod log;
mod nar;
mod peers;
mod realise;
mod standing;
mod status;
#[cfg(test)]
mod testing;
mod why;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::Stream;
use musher_api::coordinator as api;
use musher_api::coordinator::coordinator_server::Coordinator;
use musher_scheduler::{MachineId, Needs};
use nix_derivation::{StoreDir, StorePath};
use tonic::{Request, Response, Status, Streaming};

use crate::build::Limits;
use crate::core::{Command, CoreHandle, Gone};
use crate::history::{History, report};
use crate::home::Home;
use crate::kept_logs::KeptLogs;
use crate::request::Foresight;

pub(crate) use peers::PeerService;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Reads the configuration again and says what changed.
pub(crate) type ReloadConfig = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>> + Send + Sync,
>;

/// Answers on `control.sock`.
pub(crate) struct Service {
    pub(crate) core: CoreHandle,
    pub(crate) home: Arc<Home>,
    pub(crate) store_dir: StoreDir,
    /// The limits of the configuration; a request's own may be stricter.
    pub(crate) limits: Limits,
    pub(crate) started: SystemTime,
    /// The configuration's file, and the directory of what is kept.
    pub(crate) config: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) reload: ReloadConfig,
    pub(crate) logs: Arc<KeptLogs>,
    pub(crate) history: History,
    /// The requests behind the hook entrance, if anything is built ahead.
    pub(crate) foresight: Option<Foresight>,
}

impl Service {
    /// The store path that a caller named.
    fn parse(&self, path: &str) -> Result<StorePath, Status> {
        (self.store_dir.parse_path(path.as_bytes()))
            .map_err(|error| Status::invalid_argument(format!("bad path `{path}`: {error}")))
    }
}

fn gone(gone: Gone) -> Status {
    Status::unavailable(gone.to_string())
}

#[tonic::async_trait]
impl Coordinator for Service {
    type BuildStream = Answers<api::BuildEvent>;
    type ReadNarStream = Answers<api::NarChunk>;
    type RealiseStream = Answers<api::RealiseEvent>;
    type ReadLogStream = Answers<api::LogChunk>;

    async fn build(
        &self,
        request: Request<api::BuildRequest>,
    ) -> Result<Response<Self::BuildStream>, Status> {
        let events = build::build(self, request.into_inner()).await?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn foresee(
        &self,
        request: Request<api::ForeseeRequest>,
    ) -> Result<Response<api::ForeseeReply>, Status> {
        foresee::foresee(self, request.get_ref())?;
        Ok(Response::new(api::ForeseeReply {}))
    }

    async fn valid_paths(
        &self,
        request: Request<api::ValidPathsRequest>,
    ) -> Result<Response<api::ValidPathsReply>, Status> {
        let paths = request.into_inner().paths;
        let paths = (paths.iter())
            .map(|path| self.parse(path))
            .collect::<Result<_, _>>()?;
        let valid = self.home.valid(&paths).await;
        let valid = valid.map_err(|error| Status::unavailable(crate::error_text(&error)))?;
        let valid = valid.iter().map(|path| self.store_dir.render_path(path));
        Ok(Response::new(api::ValidPathsReply {
            valid: valid.collect(),
        }))
    }

    async fn find_outputs(
        &self,
        request: Request<api::FindOutputsRequest>,
    ) -> Result<Response<api::FindOutputsReply>, Status> {
        let paths = request.into_inner().paths;
        Ok(Response::new(nar::find_outputs(self, &paths).await?))
    }

    async fn read_nar(
        &self,
        request: Request<api::ReadNarRequest>,
    ) -> Result<Response<Self::ReadNarStream>, Status> {
        let chunks = nar::read_nar(self, &request.into_inner()).await?;
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn realise(
        &self,
        request: Request<api::RealiseRequest>,
    ) -> Result<Response<Self::RealiseStream>, Status> {
        let standing = standing::standing(&request);
        let events = realise::realise(self, standing, request.get_ref())?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn home(
        &self,
        _request: Request<api::HomeRequest>,
    ) -> Result<Response<api::HomeReply>, Status> {
        Ok(Response::new(home::home(self)))
    }

    async fn import(
        &self,
        request: Request<Streaming<api::ImportMessage>>,
    ) -> Result<Response<api::ImportReply>, Status> {
        let reply = home::import(self, request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn add_root(
        &self,
        request: Request<api::AddRootRequest>,
    ) -> Result<Response<api::AddRootReply>, Status> {
        home::add_root(self, &request.into_inner().link).await?;
        Ok(Response::new(api::AddRootReply {}))
    }

    async fn read_log(
        &self,
        request: Request<api::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        let chunks = log::read_log(self, &request.into_inner().path).await?;
        Ok(Response::new(chunks))
    }

    async fn status(
        &self,
        _request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusReply>, Status> {
        let view = self
            .core
            .ask(|reply| Command::View { reply })
            .await
            .map_err(gone)?;
        Ok(Response::new(status::status(&view, self)))
    }

    async fn history(
        &self,
        request: Request<api::HistoryRequest>,
    ) -> Result<Response<api::HistoryReply>, Status> {
        let answer = report::answer(&self.history, request.into_inner()).await;
        let unreadable = "the history cannot be read; the coordinator's log says why";
        answer
            .map(Response::new)
            .ok_or_else(|| Status::unavailable(unreadable))
    }

    async fn why(
        &self,
        request: Request<api::WhyRequest>,
    ) -> Result<Response<api::WhyReply>, Status> {
        let reply = why::why(self, &request.get_ref().path).await?;
        Ok(Response::new(reply))
    }

    async fn explain(
        &self,
        request: Request<api::ExplainRequest>,
    ) -> Result<Response<api::ExplainReply>, Status> {
        let request = request.into_inner();
        let features = request.required_features.into_iter().collect();
        let needs = Needs {
            system: request.system,
            features,
        };
        let fleet = self
            .core
            .ask(|reply| Command::Could { needs, reply })
            .await
            .map_err(gone)?;
        let mut answer = api::ExplainReply::default();
        for (machine, lacks) in fleet {
            let machine = machine.to_string();
            match lacks.is_empty() {
                true => answer.able.push(machine),
                false => answer.lacks.push(api::MachineLack { machine, lacks }),
            }
        }
        Ok(Response::new(answer))
    }

    async fn drain(
        &self,
        request: Request<api::DrainRequest>,
    ) -> Result<Response<api::DrainReply>, Status> {
        let api::DrainRequest { machine, resume } = request.into_inner();
        let id = MachineId::from(machine.as_str());
        let drain = |reply| Command::Drain {
            machine: id,
            resume,
            reply,
        };
        match self.core.ask(drain).await.map_err(gone)? {
            true => Ok(Response::new(api::DrainReply {})),
            false => Err(Status::not_found(format!(
                "no machine is called `{machine}`"
            ))),
        }
    }

    async fn reload(
        &self,
        _request: Request<api::ReloadRequest>,
    ) -> Result<Response<api::ReloadReply>, Status> {
        match (self.reload)().await {
            Ok(changes) => Ok(Response::new(api::ReloadReply { changes })),
            Err(text) => Err(Status::failed_precondition(text)),
        }
    }
}
