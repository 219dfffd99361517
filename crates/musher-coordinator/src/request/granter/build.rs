//! Asks the core for one build of a request: from the derivation, once what it
//! reads is there, to what is waited for.

use musher_protocol::types::{BuildMode, BuildStatus};
use nix_derivation::StorePath;

use super::{Asked, Came, Checked, Event, Granter, Resolved, resolve};
use super::{BuildSpec, Command, Happened, Part, Progress, Stage, undisclosed_outputs};

impl Granter {
    /// Asks the core for a build.
    pub(super) async fn build(&mut self, drv: StorePath) -> Option<Event> {
        let inputs = self.graph.inputs(&drv);
        let unforeseen = (inputs.keys())
            .filter(|input| self.unforeseen.contains(*input))
            .cloned()
            .collect();
        let resolved = resolve(&drv, &self.derivations[&drv], &inputs, &unforeseen);
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(error) => {
                let text = crate::error_text(&error);
                self.failed(&drv, BuildStatus::InputRejected, text, None);
                return Some(Event::Failed { drv });
            }
        };
        let Resolved {
            drv_path,
            derivation,
        } = resolved;
        let held = self.held.reachable(&derivation.input_sources);
        let is_check = self.wish.check && self.wish.roots.contains_key(&drv);
        let at_home = self.graph.outputs(&drv).filter(|_| is_check).cloned();
        let asked = Asked {
            drv: drv.clone(),
            inputs: derivation.input_sources.clone(),
            held: held.clone(),
            undisclosed: undisclosed_outputs(&derivation),
        };
        let spec = BuildSpec {
            drv_path,
            derivation,
            mode: match is_check {
                true => BuildMode::Check,
                false => BuildMode::Normal,
            },
            limits: self.wish.limits,
            held,
            nar_ahead: false,
            keep_failed: self.wish.keep_failed,
        };
        let part = self.ticket.as_ref().map(|ticket| Part {
            request: ticket.request(),
            drv: drv.clone(),
        });
        let ask = |reply| Command::Build {
            spec: Box::new(spec),
            part,
            reply,
        };
        let Ok(mut progress) = self.core.ask(ask).await else {
            self.works.push(Box::pin(async { Came::Gone }));
            return None;
        };
        self.teller.tell(Happened::Asked {
            drv,
            progress: progress.clone(),
        });
        let home = self.home.clone();
        self.works.push(Box::pin(async move {
            let ended = progress.wait_for(Progress::is_over).await;
            let ended = ended.ok().and_then(|progress| match &progress.stage {
                Stage::Ended(ended) => Some(ended.clone()),
                Stage::Waiting(_) | Stage::Running => None,
            });
            match ended {
                Some(ended) => Came::Ended {
                    checked: match at_home {
                        Some(there) => Some(Checked::by(&home, &there, &ended).await),
                        None => None,
                    },
                    asked,
                    progress,
                    ended,
                },
                None => Came::Gone,
            }
        }));
        None
    }
}
