//! A host and all our connections to it: opens a further one when sshd takes no
//! more sessions on the others, and a new one when all are gone. Decides nothing
//! about when to try again; that is for whoever asks for a channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::{Master, SshError, SshOptions, SshOutput, SshTarget};
use crate::transport::Transport;

/// How often a channel is tried that no other channel stands in the way of.
const TRIES: u32 = 2;

/// The connections to one host. Clones share them; they end with the last clone
/// and the last channel, or with [`Link::close`].
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SshTarget,
    options: SshOptions,
    masters: Mutex<Vec<Arc<Master>>>,
    /// Held while a master is being opened, so that one is opened at a time.
    opening: tokio::sync::Mutex<()>,
    condition: watch::Sender<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    /// At least one connection is open, or none is needed.
    Up,
    /// None is open; what ssh said when the last one ended.
    Down(SshOutput),
    /// Closed by us, for good.
    Closed,
}

impl Link {
    /// A link to `target` that is not connected yet.
    pub fn new(target: SshTarget, options: SshOptions) -> Self {
        let condition = if target.is_localhost() {
            Condition::Up
        } else {
            Condition::Down(SshOutput::default())
        };
        Self {
            shared: Arc::new(Shared {
                target,
                options,
                masters: Mutex::default(),
                opening: tokio::sync::Mutex::default(),
                condition: watch::Sender::new(condition),
            }),
        }
    }

    /// The host this is a link to.
    pub fn target(&self) -> &SshTarget {
        &self.shared.target
    }

    /// Connects where no connection is open.
    pub async fn connect(&self) -> Result<(), SshError> {
        let shared = &self.shared;
        shared.check_closed()?;
        if shared.target.is_localhost() || shared.masters().iter().any(|master| master.is_open()) {
            return Ok(());
        }
        shared.master_with_room().await.map(drop)
    }

    /// Starts a command, one word an element, on the host; connects first where
    /// that is needed. On `localhost` it is started without ssh and without a
    /// shell.
    pub async fn channel(&self, command: &[String]) -> Result<Transport, SshError> {
        let shared = &self.shared;
        shared.check_closed()?;
        if shared.target.is_localhost() {
            return Transport::command(command).map_err(|source| SshError::Localhost { source });
        }
        let mut failures = 0;
        loop {
            let master = shared.master_with_room().await?;
            let error = match master.channel(command).await {
                Ok(channel) => return Ok(channel.into()),
                // Others were quicker, or it was not known that it is full.
                Err(SshError::TooManySessions { .. }) if master.sessions() > 0 => continue,
                // sshd may count a session that has ended for a moment longer
                // than we do. A new connection has had none.
                Err(error @ SshError::TooManySessions { .. }) => error,
                Err(error @ SshError::Lost { .. }) => {
                    shared.forget(&Arc::downgrade(&master), &master.output());
                    error
                }
                Err(error) => return Err(error),
            };
            failures += 1;
            if failures == TRIES {
                return Err(error);
            }
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        let masters = self.shared.masters();
        masters.iter().filter(|master| master.is_open()).count()
    }

    /// Waits until no connection is open, and says why; at once where there is
    /// none. A link to `localhost` is never lost.
    pub async fn lost(&self) -> SshError {
        let target = self.shared.name();
        let mut condition = self.shared.condition.subscribe();
        // The sender lives as long as `self`, so that this is never an error.
        let down = condition
            .wait_for(|condition| !matches!(condition, Condition::Up))
            .await;
        match down.as_deref() {
            Ok(Condition::Down(words)) => SshError::Lost {
                target,
                source: words.clone(),
            },
            Ok(Condition::Up | Condition::Closed) | Err(_) => SshError::Closed { target },
        }
    }

    /// Ends every connection and every channel on them, for good, and waits
    /// until no process and no socket of them is left.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.condition.send_replace(Condition::Closed);
        // Whoever is connecting sees it and gives up first.
        let _turn = shared.opening.lock().await;
        let masters = std::mem::take(&mut *shared.masters());
        // All at once: each may take its time.
        let closing = masters.iter().map(|master| master.close());
        futures_util::future::join_all(closing).await;
    }
}

impl Shared {
    fn masters(&self) -> MutexGuard<'_, Vec<Arc<Master>>> {
        self.masters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        self.target.authority.to_string()
    }

    fn check_closed(&self) -> Result<(), SshError> {
        match *self.condition.borrow() {
            Condition::Closed => Err(SshError::Closed {
                target: self.name(),
            }),
            Condition::Up | Condition::Down(_) => Ok(()),
        }
    }

    fn room(&self) -> Option<Arc<Master>> {
        let masters = self.masters();
        masters.iter().find(|master| master.has_room()).cloned()
    }

    /// An open master that may take a session; opens one where there is none.
    async fn master_with_room(self: &Arc<Self>) -> Result<Arc<Master>, SshError> {
        if let Some(master) = self.room() {
            return Ok(master);
        }
        let _turn = self.opening.lock().await;
        // Another may have opened one, or closed all, meanwhile.
        self.check_closed()?;
        if let Some(master) = self.room() {
            return Ok(master);
        }
        let opening = Master::start(&self.target, &self.options).await?;
        let mut condition = self.condition.subscribe();
        let closed = condition.wait_for(|condition| matches!(condition, Condition::Closed));
        let opened = tokio::select! {
            opened = opening.ready() => opened,
            _ = closed => Err(SshError::Closed { target: self.name() }),
        };
        if let Err(error) = opened {
            if let SshError::Closed { .. } = error {
                opening.close().await;
            }
            return Err(error);
        }
        self.add(&opening);
        Ok(opening)
    }

    fn add(self: &Arc<Self>, master: &Arc<Master>) {
        let mut masters = self.masters();
        masters.push(Arc::clone(master));
        masters.retain(|master| !master.is_stuck());
        self.condition.send_modify(|condition| {
            if let Condition::Down(_) = condition {
                *condition = Condition::Up;
            }
        });
        drop(masters);
        let link = Arc::downgrade(self);
        let gone = master.gone();
        let master = Arc::downgrade(master);
        tokio::spawn(async move {
            let words = gone.await;
            if let Some(link) = link.upgrade() {
                link.forget(&master, &words);
            }
        });
    }

    /// Takes a dead master off the list.
    fn forget(&self, dead: &Weak<Master>, words: &SshOutput) {
        let mut masters = self.masters();
        masters.retain(|master| !std::ptr::eq(Arc::as_ptr(master), dead.as_ptr()));
        if masters.is_empty() {
            self.condition.send_modify(|condition| {
                if let Condition::Up = condition {
                    *condition = Condition::Down(words.clone());
                }
            });
        }
    }
}
