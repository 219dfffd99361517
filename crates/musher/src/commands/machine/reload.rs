//! Has a running coordinator take over a change of the machines.

use super::story::Story;
use crate::check::Finding;
use crate::context::Context;
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::failure::Failure;

/// Tells the coordinator, if one runs. That it does not take the change is
/// something to know, but the change is made.
pub(super) async fn tell_daemon(context: &Context, story: &mut Story) -> Result<(), Failure> {
    let asked = async {
        let mut coordinator = Coordinator::connect(&context.places.run).await?;
        coordinator.reload().await
    };
    let finding = match asked.await {
        Ok(changes) if changes.is_empty() => Finding::new("the coordinator knows it already"),
        Ok(_) => Finding::new("the coordinator has taken it over"),
        Err(error) if error.is_not_running() => {
            Finding::new("no coordinator runs; `musher daemon` will read it")
        }
        Err(error) => failed(&error),
    };
    story.tell("coordinator", finding)
}

fn failed(error: &CoordinatorError) -> Finding {
    let warning = match error.help() {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    };
    Finding::new("the coordinator has not taken it over").warn(warning)
}
