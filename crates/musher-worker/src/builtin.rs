//! The build programs that Nix has built in. They run inside the sandbox as
//! any build program does: the worker starts an executable of its own there as
//! `musher builtin NAME FILE`, with a [`BuiltinOrder`] in the file. So a bad
//! download or archive reaches nothing that another build could not reach.

mod build_env;
mod error;
mod fetch_url;
mod log;
mod order;
mod unpack_channel;

use std::io::Write;

pub use error::BuiltinError;
pub use order::{BuiltinOrder, Hosted, MAX_ORDER};

use log::Log;

/// A build program that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Downloads a file.
    FetchUrl,
    /// Unpacks an archive that holds one directory.
    UnpackChannel,
    /// Makes a tree of symbolic links from several trees.
    BuildEnv,
}

impl Builtin {
    /// What a derivation whose build program is `builder` asks for:
    /// `builtin:fetchurl` and so on. None for a program of its own.
    pub fn of_builder(builder: &str) -> Option<Result<Self, BuiltinError>> {
        let name = builder.strip_prefix("builtin:")?;
        Some(Self::of_name(name))
    }

    /// By its name, without `builtin:`.
    pub fn of_name(name: &str) -> Result<Self, BuiltinError> {
        match name {
            "fetchurl" => Ok(Self::FetchUrl),
            "unpack-channel" => Ok(Self::UnpackChannel),
            "buildenv" => Ok(Self::BuildEnv),
            _ => Err(BuiltinError::Unknown {
                name: name.to_owned(),
            }),
        }
    }

    /// Its name, without `builtin:`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FetchUrl => "fetchurl",
            Self::UnpackChannel => "unpack-channel",
            Self::BuildEnv => "buildenv",
        }
    }

    /// Does what `order` says. What there is to say meanwhile goes to `log`,
    /// in the lines by which a build program speaks to Nix (`@nix {…}`).
    ///
    /// Blocks, and looks at the file system as the build sees it.
    pub fn run(self, order: &BuiltinOrder, log: &mut dyn Write) -> Result<(), BuiltinError> {
        let mut log = Log::new(log);
        match self {
            Self::FetchUrl => fetch_url::run(order, &mut log),
            Self::UnpackChannel => unpack_channel::run(order),
            Self::BuildEnv => build_env::run(order, &mut log),
        }
    }
}
