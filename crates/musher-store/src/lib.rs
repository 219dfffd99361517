//! Nix stores: behind a nix-daemon, on other hosts through ssh, and copying
//! between them. Holds no policy: it does what it is told, where it is told.

mod connector;
mod disk_store;
mod error;
pub mod local;
mod local_session;
mod lock_holder;
mod nar_file;
mod open;
pub mod open_files;
mod order;
mod own;
mod pool;
mod serve_connection;
mod serve_store;
pub mod ssh;
mod store;
pub mod transport;
mod unproven;
pub mod url;
mod user;
mod wire;
mod worker_connection;
mod worker_store;

use std::time::Duration;

pub use connector::{Connector, Way};
pub use disk_store::DiskStore;
pub use error::StoreError;
pub use local_session::{LocalSessionError, serve_local};
pub use lock_holder::{LockError, LockHolder, lock_within};
pub use nar_file::read_nar_file;
pub use open::{OpenError, SshParts, local_options, open_here, open_store, ssh_parts};
pub use order::references_first;
pub use own::{has_nix, own_home, own_store};
pub use serve_connection::ServeConnection;
pub use serve_store::{ServeStore, send, taken};
pub use store::{NarStream, Store, StoreInfo, Substitute};
pub use unproven::own_drv_path;
pub use user::User;
pub use worker_connection::{Hear, WorkerConnection, deaf};
pub use worker_store::{WorkerStore, upload};

/// The most bytes in one chunk of a NAR.
pub const NAR_CHUNK: usize = 64 << 10;

/// How long to wait for a broken connection's program to say why it ended.
const PEER_END: Duration = Duration::from_millis(500);
