//! Questions about paths that the coordinator answers at once, or not at all.
//! Knows nothing of the client.

use musher_api::coordinator as api;
use tonic::{Response, Status};
use tracing::debug;

use super::link::Client;
use super::{Coordinator, is_passing};

impl Coordinator {
    /// Which of `paths` (absolute) are valid in the home store. Nothing where
    /// the coordinator cannot be asked at once.
    pub(crate) async fn valid_paths(&mut self, paths: Vec<String>) -> Option<Vec<String>> {
        let ask = async |mut client: Client| {
            let request = api::ValidPathsRequest { paths };
            client.valid_paths(request).await
        };
        Some(self.ask_once(ask).await?.valid)
    }

    /// What is known of `path` (absolute), if it is an output of a build that
    /// somebody follows or followed a moment ago, and the machine where it is.
    /// Nothing where the coordinator cannot be asked at once: after a restart it
    /// knows of none.
    pub(crate) async fn find_output(&mut self, path: String) -> Option<(api::PathInfo, String)> {
        let paths = vec![path];
        let ask = async |mut client: Client| {
            let request = api::FindOutputsRequest { paths };
            client.find_outputs(request).await
        };
        let output = self.ask_once(ask).await?.outputs.pop()?;
        Some((output.info?, output.machine))
    }

    async fn ask_once<T>(
        &mut self,
        ask: impl AsyncFnOnce(Client) -> Result<Response<T>, Status>,
    ) -> Option<T> {
        let client = self.reach_now().await?;
        match ask(client).await {
            Ok(reply) => {
                self.answered();
                Some(reply.into_inner())
            }
            Err(status) => {
                debug!(%status, "the coordinator does not answer a question about paths");
                if is_passing(&status) {
                    self.lost();
                }
                None
            }
        }
    }
}
