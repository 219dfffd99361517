//! The Nix worker protocol, 1.21 to 1.38: what `nix-daemon` speaks, on its
//! socket and through `ssh-ng://`. Both ends, as state machines without I/O.
//!
//! ```text
//! session   = hello, exchange*
//! hello     = C: 0x6e697863, version             S: 0x6478696f, version
//!             C: features                        S: features           from 1.38
//!             C: 0, 0                            S: Nix version        from 1.33
//!                                                S: trust (0 | 1 | 2)  from 1.35
//!                                                S: log, 0x616c7473
//! exchange  = C: operation, arguments, [body]
//!             S: log, (0x616c7473, result | 0x63787470, error)
//! log       = message*
//! ```
//!
//! The lower of the two versions counts, and of the features those that both
//! sides named.

mod body;
pub mod build_result;
mod client;
mod config;
pub mod derived_path;
mod error;
mod frames;
mod garbage;
mod handshake;
mod message;
mod op;
mod options;
pub mod path_info;
mod realisation;
mod remote_error;
mod request;
mod response;
mod server;
mod server_info;
mod upload;
mod version;

pub use body::BodyItem;
pub use client::{ClientEvent, ClientSession};
pub use config::{ClientConfig, ServerConfig};
pub use error::{CommandError, SessionError};
pub use garbage::{GarbageAction, GarbagePaths, GarbageRun};
pub use message::{Activity, ActivityKind, Field, Level, Message, ResultKind};
pub use op::Op;
pub use options::Options;
pub use realisation::{OutputId, Realisation};
pub use remote_error::RemoteError;
pub use request::{Asked, Request, Unsupported};
pub use response::{Missing, Response, Root, Substitutable};
pub use server::{ServerEvent, ServerSession};
pub use server_info::ServerInfo;
pub use version::{Dialect, Feature, Negotiated, Trust, Version};

/// The first word of a client.
const CLIENT_MAGIC: u64 = 0x6e69_7863;
/// The first word of a server.
const SERVER_MAGIC: u64 = 0x6478_696f;
