//! A stream of events that is asked for again when it breaks or the coordinator
//! goes. Knows nothing of what the events say.

use tonic::{Status, Streaming};

use super::link::{Client, Reached};
use super::{Coordinator, CoordinatorError, is_passing, refused};

/// What comes next.
pub(super) enum Next<E> {
    /// An event.
    Event(E),
    /// The coordinator has been away for a while.
    CoordinatorAway,
}

/// A stream of events of the coordinator's, open or to be opened.
pub(super) struct Feed<E>(Option<Streaming<E>>);

impl<E> Feed<E> {
    /// One that was not asked for yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// The next event. `open` asks for the events that follow what was heard.
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(
        &mut self,
        coordinator: &mut Coordinator,
        open: impl AsyncFn(Client) -> Result<Streaming<E>, Status>,
    ) -> Result<Next<E>, CoordinatorError> {
        loop {
            let opened = match &mut self.0 {
                Some(events) => match events.message().await {
                    Ok(Some(event)) => {
                        coordinator.answered();
                        return Ok(Next::Event(event));
                    }
                    Ok(None) => None,
                    Err(status) if is_passing(&status) => None,
                    Err(status) => return Err(refused(&status)),
                },
                None => match coordinator.reach().await? {
                    Reached::Tell => return Ok(Next::CoordinatorAway),
                    Reached::Away => continue,
                    Reached::Client(client) => match open(client).await {
                        Ok(events) => Some(events),
                        Err(status) if is_passing(&status) => None,
                        Err(status) => return Err(refused(&status)),
                    },
                },
            };
            let lost = opened.is_none();
            self.0 = opened;
            if lost && let Reached::Tell = coordinator.lost() {
                return Ok(Next::CoordinatorAway);
            }
        }
    }
}
