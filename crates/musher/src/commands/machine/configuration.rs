//! The configuration as commands change it: it may not be there yet.

use std::path::{Path, PathBuf};
use std::{fs, io};

use musher_coordinator::config::{Config, ConfigFile, host_system};

use crate::context::Context;
use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`", path.display())]
struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// The machines there are; none yet if the configuration is about to be made.
pub(super) fn existing(context: &Context) -> Result<Config, Failure> {
    let usual = ConfigFile::Usual(context.places.config.path().to_path_buf());
    Ok(Config::load(&usual, &host_system())?)
}

/// The text of musher.toml, if it is there.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::environment(ReadError {
            path: path.to_path_buf(),
            source,
        })),
    }
}
