//! The coordinator as commands ask it: over its socket, and in little time,
//! since a person waits.

mod building;
pub(crate) mod on_demand;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use musher_api::coordinator as api;
use musher_api::coordinator::coordinator_client::CoordinatorClient;
use musher_coordinator::DaemonPlaces;
use musher_store::transport::SocketPath;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A coordinator that answered the telephone.
pub(crate) struct Coordinator {
    socket: PathBuf,
    client: CoordinatorClient<Channel>,
    /// For what takes as long as it takes.
    patient: CoordinatorClient<Channel>,
}

/// Why the coordinator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoordinatorError {
    /// Nobody listens.
    #[error("the coordinator is not running: nobody listens on `{}`", .socket.display())]
    NotRunning { socket: PathBuf, source: io::Error },
    /// It listens, but not to us.
    #[error("cannot connect to the coordinator's socket `{}`", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    /// It does not answer.
    #[error("the coordinator does not answer on `{}`", .socket.display())]
    Silent {
        socket: PathBuf,
        source: Box<Status>,
    },
    /// It answered that it would not.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// It is not the one that is meant.
    #[error(
        "the coordinator on `{}` has the {what} `{}`, not `{}`",
        .socket.display(), .has.display(), .wanted.display()
    )]
    Other {
        socket: PathBuf,
        /// What of it differs.
        what: &'static str,
        has: PathBuf,
        wanted: PathBuf,
    },
}

impl CoordinatorError {
    /// Whether there is simply none.
    pub(crate) fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }

    /// Whether the user asked for what cannot be.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Other { .. })
    }

    /// Advice the user can act on, if there is any.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some(
                "start it with `musher daemon`, or name its directory of sockets by `--run`"
                    .to_owned(),
            ),
            Self::Connect { source, .. } => (source.kind() == io::ErrorKind::PermissionDenied)
                .then(|| "ask as the user who runs it, or as root".to_owned()),
            Self::Silent { .. } => Some("its log tells more".to_owned()),
            Self::Refused(_) => None,
            Self::Other { .. } => Some(
                "give the options that it was started with, or a directory of sockets of its own \
                 by `--run`"
                    .to_owned(),
            ),
        }
    }
}

async fn dial(socket: &Path) -> io::Result<UnixStream> {
    let short = SocketPath::new(socket)?;
    UnixStream::connect(short.as_path()).await
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        let help = error.help();
        Self::of(error.is_refusal(), error).help(help)
    }
}

impl Coordinator {
    /// Connects to the coordinator whose directory of sockets is `run`.
    pub(crate) async fn connect(run: &Path) -> Result<Self, CoordinatorError> {
        let socket = DaemonPlaces::control_socket(run);
        // The transport hides the system's words, so they are got here.
        if let Err(source) = dial(&socket).await {
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return Err(match nobody.contains(&source.kind()) {
                true => CoordinatorError::NotRunning { socket, source },
                false => CoordinatorError::Connect { socket, source },
            });
        }
        let path = socket.clone();
        let connect = service_fn(move |_| {
            let path = path.clone();
            async move { dial(&path).await.map(TokioIo::new) }
        });
        // The name is for the protocol only.
        let endpoint = Endpoint::from_static("http://coordinator");
        let patient = endpoint.connect_with_connector_lazy(connect.clone());
        let channel = endpoint.timeout(PATIENCE);
        let channel = channel.connect_with_connector_lazy(connect);
        Ok(Self {
            socket,
            client: CoordinatorClient::new(channel),
            patient: CoordinatorClient::new(patient),
        })
    }

    /// The fleet and what it does now.
    pub(crate) async fn status(&mut self) -> Result<api::StatusReply, CoordinatorError> {
        let answer = self.client.status(api::StatusRequest {}).await;
        self.taken(answer)
    }

    /// What is known of past attempts.
    pub(crate) async fn history(
        &mut self,
        request: api::HistoryRequest,
    ) -> Result<api::HistoryReply, CoordinatorError> {
        let answer = self.client.history(request).await;
        self.taken(answer)
    }

    /// What becomes of a derivation, and why.
    pub(crate) async fn why(
        &mut self,
        request: api::WhyRequest,
    ) -> Result<api::WhyReply, CoordinatorError> {
        let answer = self.client.why(request).await;
        self.taken(answer)
    }

    /// Which machines could build something, and what the others lack.
    pub(crate) async fn explain(
        &mut self,
        request: api::ExplainRequest,
    ) -> Result<api::ExplainReply, CoordinatorError> {
        let answer = self.client.explain(request).await;
        self.taken(answer)
    }

    /// Gives a machine no new builds, or gives it builds again.
    pub(crate) async fn drain(
        &mut self,
        request: api::DrainRequest,
    ) -> Result<(), CoordinatorError> {
        let answer = self.client.drain(request).await;
        self.taken(answer).map(|api::DrainReply {}| ())
    }

    /// Has the configuration read again; says what changed, one line each.
    pub(crate) async fn reload(&mut self) -> Result<Vec<String>, CoordinatorError> {
        let answer = self.client.reload(api::ReloadRequest {}).await;
        self.taken(answer).map(|reply| reply.changes)
    }

    fn taken<T>(&self, answer: Result<tonic::Response<T>, Status>) -> Result<T, CoordinatorError> {
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(self.refusal(status)),
        }
    }

    fn refusal(&self, status: Status) -> CoordinatorError {
        let status = Box::new(status);
        let refused = matches!(
            status.code(),
            Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument
        );
        match refused {
            true => CoordinatorError::Refused(status),
            false => CoordinatorError::Silent {
                socket: self.socket.clone(),
                source: status,
            },
        }
    }
}
