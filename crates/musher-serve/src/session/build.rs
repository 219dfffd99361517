//! `BuildDerivation`: has the coordinator build, and tells the client what
//! happens meanwhile.

use musher_api::coordinator as api;
use musher_protocol::types::{BasicDerivation, BuildMode, Text};
use musher_protocol::worker::{Message, Response};
use nix_derivation::StorePath;
use tokio::time::Instant;
use tracing::info;

use super::Session;
use crate::coordinator::{Build, BuildOrder, Coordinator, CoordinatorError, News};
use crate::error::{ServeError, coordinator_error};
use crate::outputs::Finished;
use crate::story::{Story, without_sandbox};

/// What woke a session that follows a build.
enum Woke {
    News(Result<News, CoordinatorError>),
    Waited,
}

impl Session {
    /// Builds `derivation` and answers the client with what came of it.
    pub(super) async fn build(
        &mut self,
        drv_path: StorePath,
        derivation: &BasicDerivation,
        mode: BuildMode,
    ) -> Result<(), ServeError> {
        // On this host the client has its inputs at home.
        if self.rights.rooted || self.rights.own_home {
            self.bring_home(&derivation.input_sources).await?;
        }
        let order = BuildOrder::new(
            self.store_dir.render_path(&drv_path),
            api::Derivation::from_value(&self.store_dir, derivation),
            mode.into(),
            self.limits,
            self.process.as_ref(),
        );
        let mut build = Build::new(order);
        let ended = match self.follow(&mut build).await? {
            Ok(ended) => ended,
            Err(error) => {
                self.client.fail(&coordinator_error(&error));
                return Ok(());
            }
        };
        let (result, infos) = match ended.to_value(&self.store_dir) {
            Ok(value) => value,
            Err(error) => {
                let error = CoordinatorError::Message(error);
                self.client.fail(&coordinator_error(&error));
                return Ok(());
            }
        };
        let drv = build.order().drv_path();
        info!(drv, machine = ended.machine, status = ?result.status, "build ended");
        self.client.reply(&Response::BuildResult(result.clone()));
        // Of a failed build there is nothing to be kept.
        if result.status.is_success() {
            self.outputs.keep(Finished {
                build,
                drv_path,
                machine: ended.machine,
                result,
                infos,
            });
        }
        Ok(())
    }

    /// Follows `build` to its end and tells the client of it.
    async fn follow(
        &mut self,
        build: &mut Build,
    ) -> Result<Result<api::Ended, CoordinatorError>, ServeError> {
        let mut story = Story::new(self.ids.clone(), build.order().drv_path().to_owned());
        loop {
            let deadline = story.deadline();
            let waited = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let woke = tokio::select! {
                biased;
                news = build.next(&mut self.coordinator) => Woke::News(news),
                () = waited => Woke::Waited,
                gone = self.client.gone() => return Err(gone.into()),
            };
            match woke {
                Woke::Waited => self.client.say(story.waited(Instant::now())),
                Woke::News(Ok(News::CoordinatorAway)) => {
                    self.client.say([away(&self.coordinator)]);
                }
                Woke::News(Ok(News::Waiting(reason))) => {
                    self.client.say(story.waits(Instant::now(), reason));
                }
                Woke::News(Ok(News::Started { machine })) => {
                    self.client.say(story.starts(&machine));
                }
                Woke::News(Ok(News::Unread { from })) => {
                    if let Some(process) = &self.process {
                        self.coordinator.foresee(process.clone(), from);
                    }
                }
                Woke::News(Ok(News::Log(piece))) => self.client.say(story.logs(piece)),
                Woke::News(Ok(News::Ended(ended))) => {
                    self.client.say(story.end());
                    let drv_path = build.order().drv_path();
                    let bare = without_sandbox(drv_path, &ended.machine, ended.usage.as_ref());
                    self.client.say(bare);
                    return Ok(Ok(*ended));
                }
                Woke::News(Err(error)) => {
                    self.client.say(story.end());
                    return Ok(Err(error));
                }
            }
            self.client.flush().await?;
        }
    }
}

/// What a client is told while the coordinator does not answer.
pub(super) fn away(coordinator: &Coordinator) -> Message {
    let socket = coordinator.socket().display();
    let text = match coordinator.was_reached() {
        true => format!("waiting for the coordinator at `{socket}` to come back\n"),
        false => format!("the coordinator at `{socket}` does not answer; start `musher daemon`\n"),
    };
    Message::Next(Text::from(text))
}
