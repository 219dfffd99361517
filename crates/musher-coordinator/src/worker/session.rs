//! A worker that answered: what it said of itself, its signs of life, and the
//! connections to it. One connection carries everything short, so that NARs on
//! the other never delay a sign of life.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use musher_api::limits::{BEAT, SILENCE};
use musher_api::{Versions, worker as api};
use musher_store::StoreError;
use nix_derivation::StoreDir;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::debug;

use super::Client;
use super::channel::Channel;
use super::way::Way;

/// What a coordinator tells a worker of itself.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// What tells this coordinator from others; unguessable.
    pub coordinator: String,
    /// The attempts it still wants; all others of its are let go. None for
    /// those who only look.
    pub wanted: Option<Vec<u64>>,
    /// What the worker's store shall keep to.
    pub budget: Option<api::Budget>,
    /// How long it may take until the worker has answered.
    pub timeout: Duration,
    /// The versions of the protocol to offer.
    pub versions: Versions,
}

/// A worker that answered.
pub struct Session {
    way: Arc<Way>,
    options: SessionOptions,
    control: Arc<Channel>,
    /// The connection for NARs; none before it is needed, and where one is
    /// all there can be.
    bulk: Mutex<Option<Arc<Channel>>>,
    hello: api::HelloReply,
    store_dir: StoreDir,
    life: watch::Receiver<Life>,
    _pulse: AbortOnDropHandle<()>,
}

/// What is known of a worker's life.
#[derive(Debug, Clone)]
struct Life {
    /// When it last gave a sign.
    seen: Instant,
    /// Whether it ends as soon as it can.
    retiring: bool,
    /// Why it counts as lost, if it does.
    lost: Option<Arc<str>>,
}

impl SessionOptions {
    /// What those tell who only look, and wait no longer than `timeout`.
    pub fn visitor(timeout: Duration) -> Self {
        Self {
            coordinator: format!("visitor-{:032x}", rand::random::<u128>()),
            wanted: None,
            budget: None,
            timeout,
            versions: Versions::OURS,
        }
    }

    fn hello(&self, reconcile: bool) -> api::HelloRequest {
        let wanted = self.wanted.as_ref().filter(|_| reconcile);
        api::HelloRequest {
            min_version: self.versions.min(),
            max_version: self.versions.max(),
            coordinator: self.coordinator.clone(),
            reconcile: wanted.is_some(),
            wanted: wanted.cloned().unwrap_or_default(),
            budget: self.budget,
        }
    }
}

impl Session {
    /// Connects to the worker at the end of `way`, which is started there if it
    /// does not run.
    pub async fn open(way: Arc<Way>, options: SessionOptions) -> Result<Self, StoreError> {
        if let Some(link) = way.link() {
            // ssh has a time limit of its own, with better words for its end.
            link.connect().await.map_err(StoreError::Ssh)?;
        }
        way.started().await?;
        let opened = Self::connect_in_time(way.clone(), options.clone()).await;
        match opened {
            Err(StoreError::WorkerGone { end }) if way.mend(&end).await => {
                Self::connect_in_time(way, options).await
            }
            opened => opened,
        }
    }

    async fn connect_in_time(way: Arc<Way>, options: SessionOptions) -> Result<Self, StoreError> {
        let bound = options.timeout;
        let opened = timeout(bound, Self::connect(way, options)).await;
        opened.unwrap_or_else(|_| {
            Err(StoreError::Silent {
                command: "musher worker".to_owned(),
                after: bound,
            })
        })
    }

    async fn connect(way: Arc<Way>, options: SessionOptions) -> Result<Self, StoreError> {
        let control = Channel::open(way.transport().await?).await?;
        let hello = greet(&control, options.hello(true)).await?;
        let identity = hello.identity.clone().unwrap_or_default();
        let store_dir = StoreDir::new(identity.store_dir.clone());
        let store_dir = store_dir.map_err(|_| StoreError::Unexpected {
            expected: "a store directory",
            found: format!("`{}`", identity.store_dir),
        })?;
        let (sender, life) = watch::channel(Life {
            seen: Instant::now(),
            retiring: false,
            lost: None,
        });
        let pulse = tokio::spawn(listen(control.client.clone(), sender));
        Ok(Self {
            way,
            options,
            control: Arc::new(control),
            bulk: Mutex::new(None),
            hello,
            store_dir,
            life,
            _pulse: AbortOnDropHandle::new(pulse),
        })
    }

    /// What the worker said of itself.
    pub fn hello(&self) -> &api::HelloReply {
        &self.hello
    }

    /// The worker's store directory.
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// Whether both ends speak `version` of the protocol.
    pub fn speaks(&self, version: u32) -> bool {
        self.hello.version >= version
    }

    /// Waits until the connection breaks, or the worker has been silent for too
    /// long, and says which.
    pub async fn lost(&self) -> Arc<str> {
        let mut life = self.life.clone();
        match life.wait_for(|life| life.lost.is_some()).await {
            Ok(life) => life.lost.clone().unwrap_or_default(),
            Err(_) => "the connection was let go".into(),
        }
    }

    /// Whether it is not lost, as far as known.
    pub fn is_alive(&self) -> bool {
        self.life.borrow().lost.is_none()
    }

    /// When the worker last gave a sign of life.
    pub fn seen(&self) -> Instant {
        self.life.borrow().seen
    }

    /// Whether the worker ends as soon as it can.
    pub fn is_retiring(&self) -> bool {
        self.life.borrow().retiring
    }

    /// For everything short.
    pub(crate) fn control(&self) -> Client {
        self.control.client.clone()
    }

    /// Why a call on [`Self::control`] failed.
    pub(crate) async fn failure(&self, attempt: &'static str, status: &Status) -> StoreError {
        self.control.failure(attempt, status).await
    }

    /// For NARs. Connects if need be.
    pub(crate) async fn bulk(&self) -> Result<Arc<Channel>, StoreError> {
        if !self.way.has_many() {
            return Ok(self.control.clone());
        }
        let mut bulk = self.bulk.lock().await;
        if let Some(channel) = &*bulk {
            return Ok(channel.clone());
        }
        let opening = async {
            let channel = Channel::open(self.way.transport().await?).await?;
            greet(&channel, self.options.hello(false)).await?;
            Ok(channel)
        };
        let bound = self.options.timeout;
        let opened = timeout(bound, opening).await.unwrap_or_else(|_| {
            Err(StoreError::Silent {
                command: "musher worker".to_owned(),
                after: bound,
            })
        })?;
        let opened = Arc::new(opened);
        *bulk = Some(opened.clone());
        Ok(opened)
    }

    /// Why a call on `channel`, which was got by [`Self::bulk`], failed; the
    /// next one gets a new connection if that is what broke.
    pub(crate) async fn bulk_failure(
        &self,
        channel: &Arc<Channel>,
        attempt: &'static str,
        status: &Status,
    ) -> StoreError {
        if super::is_lost(status) {
            let mut bulk = self.bulk.lock().await;
            // There may be a new one already, which is not to blame.
            if (bulk.as_ref()).is_some_and(|current| Arc::ptr_eq(current, channel)) {
                *bulk = None;
            }
        }
        channel.failure(attempt, status).await
    }
}

async fn greet(
    channel: &Channel,
    request: api::HelloRequest,
) -> Result<api::HelloReply, StoreError> {
    match channel.client.clone().hello(request).await {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(channel.failure("say who it is", &status).await),
    }
}

/// Gives signs of life, and watches for the worker's.
async fn listen(mut client: Client, life: watch::Sender<Life>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let beats = stream::unfold((ticks, 0), async |(mut ticks, number)| {
        ticks.tick().await;
        let number = number + 1;
        let beat = api::Beat {
            number,
            ..api::Beat::default()
        };
        Some((beat, (ticks, number)))
    });
    let reason: Arc<str> = match hear(&mut client, Box::pin(beats), &life).await {
        Ok(()) => "the worker hung up".into(),
        Err(Some(status)) => {
            debug!(%status, "no more signs of life");
            "the connection broke".into()
        }
        Err(None) => format!("no sign of life for {} s", SILENCE.as_secs()).into(),
    };
    life.send_modify(|life| life.lost = Some(reason));
}

/// Hears beats until there are none; an error without a status is silence.
async fn hear(
    client: &mut Client,
    beats: impl futures_util::Stream<Item = api::Beat> + Send + 'static,
    life: &watch::Sender<Life>,
) -> Result<(), Option<Status>> {
    let answered = timeout(SILENCE, client.pulse(beats)).await;
    let mut heard = answered.map_err(|_| None)?.map_err(Some)?.into_inner();
    loop {
        let beat = timeout(SILENCE, heard.message()).await.map_err(|_| None)?;
        let Some(beat) = beat.map_err(Some)? else {
            return Ok(());
        };
        life.send_modify(|life| {
            life.seen = Instant::now();
            life.retiring = beat.retiring;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Session, SessionOptions};
    use crate::worker::{LocalWorker, Way};

    #[tokio::test]
    async fn a_worker_that_starts_slowly_is_not_started_over_and_over() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let program = dir.path().join("worker");
        // Written by another process: nobody can start what is being written.
        let script = "#!/bin/sh\necho >> \"$0.starts\"\necho ready\nexec cat\n";
        let wrote = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod +x \"$0\""])
            .arg(&program)
            .arg(script)
            .status();
        assert!(wrote.expect("sh runs").success());
        let (state, run) = (dir.path().join("state"), dir.path().join("run"));
        let way = Arc::new(Way::Local(LocalWorker::new(program, state, run)));
        for _ in 0..2 {
            // Any start takes longer than this.
            let options = SessionOptions::visitor(Duration::ZERO);
            assert!(Session::open(way.clone(), options).await.is_err());
        }
        let starts = fs::read(dir.path().join("worker.starts")).expect("it was started");
        assert_eq!(starts, b"\n");
        way.close().await;
    }
}
