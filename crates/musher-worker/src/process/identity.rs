//! Which worker this is: its store, its start, its binary.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process;

use musher_api::worker as api;
use musher_store::local::LocalStore;

use super::WorkerError;
use crate::places::WorkerPlaces;

const SELF: &str = "/proc/self/exe";

/// What tells this process's binary from others on this machine, whatever has
/// become of its file since.
pub fn binary() -> Result<String, WorkerError> {
    let found = fs::metadata(SELF).map_err(WorkerError::file("look at", SELF.as_ref()))?;
    Ok(format!(
        "{}-{:x}-{:x}-{:x}-{:x}",
        env!("CARGO_PKG_VERSION"),
        found.dev(),
        found.ino(),
        found.size(),
        i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
    ))
}

/// Where this process's binary is.
pub fn executable() -> Result<PathBuf, WorkerError> {
    std::env::current_exe().map_err(WorkerError::file("look at", SELF.as_ref()))
}

/// Which worker this is, of `store`, whose id the file at `id` holds.
pub(super) fn identity(id: &Path, store: &LocalStore) -> Result<api::Identity, WorkerError> {
    Ok(api::Identity {
        store: store_id(id)?,
        instance: random(),
        binary: binary()?,
        executable: executable()?.display().to_string(),
        store_dir: store.store_dir().as_str().to_owned(),
        pid: process::id(),
        uid: rustix::process::geteuid().as_raw(),
    })
}

/// Lets those who start workers see which binary this one is.
pub(super) fn publish(places: &WorkerPlaces, identity: &api::Identity) -> Result<(), WorkerError> {
    let path = places.binary();
    fs::write(&path, &identity.binary).map_err(WorkerError::file("write", &path))
}

/// What was made up when the store was made.
fn store_id(path: &Path) -> Result<String, WorkerError> {
    match fs::read_to_string(path) {
        Ok(id) if !id.is_empty() => return Ok(id),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(WorkerError::file("read", path)(error)),
    }
    let id = random();
    fs::write(path, &id).map_err(WorkerError::file("write", path))?;
    Ok(id)
}

fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}
