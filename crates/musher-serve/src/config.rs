//! What a session has to know before it begins.

use std::path::PathBuf;

use musher_protocol::worker::Trust;
use musher_store::WorkerStore;

use crate::coordinator::StartCoordinator;

/// Which of Nix's protocols a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// That of `nix-daemon --stdio`, for `ssh-ng://`.
    Worker,
    /// That of `nix-store --serve --write`, for `ssh://`.
    Serve,
}

/// Where a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// As the builder of a stock Nix on this host, which has derivations built
    /// one by one, holds the locks of their outputs and imports them itself.
    Hook,
    /// To have the home store as its own: what is to be built for it is built
    /// by the coordinator, as one graph.
    Store,
}

/// What a session has to know of the world around it.
pub struct SessionConfig {
    /// Where the coordinator listens.
    pub control_socket: PathBuf,
    /// What to do where none does, once one is needed. Without it the session
    /// connects at once, and waits for one that is not there.
    pub start_coordinator: Option<StartCoordinator>,
    /// Where the client comes in.
    pub entrance: Entrance,
    /// The home store, with the rights of this process.
    pub home: WorkerStore,
    /// Whether that is a store of Musher's own, for which nobody but the
    /// coordinator builds.
    pub own_home: bool,
    /// How far to trust the client; where it is not said, as far as the home
    /// store trusts this process.
    pub trust: Option<Trust>,
    /// Whether the client is on another host, where the roots of the home
    /// store's garbage collector do not reach.
    pub remote: bool,
}
