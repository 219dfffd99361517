//! The logs of builds, where Nix looks for them:
//! `LOGS/nix/drvs/<first two characters>/<the rest of the derivation's name>`.

use std::fs::{DirBuilder, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use musher_protocol::worker::{RemoteError, Response};
use nix_derivation::StorePath;
use tempfile::NamedTempFile;

use super::answer::Answer;
use super::body::Body;
use super::rooted::Rooted;

/// The most bytes of one log.
const MOST: u64 = 1 << 30;

/// `AddBuildLog`
pub(super) fn add(store: &Rooted, drv_path: &StorePath, body: &mut Body) -> Answer {
    let place = place(store, drv_path);
    write(&place, body).map_err(|error| {
        let place = place.display();
        RemoteError::new(format!("cannot write the log `{place}`: {error}"))
    })?;
    Ok(Response::Unit)
}

fn place(store: &Rooted, drv_path: &StorePath) -> PathBuf {
    let name = drv_path.to_basename();
    let (dir, file) = name.split_at(2);
    // Beside the state, `var/nix`, as in an installation of Nix.
    let var = store.store.state_dir().with_file_name("log");
    var.join("nix/drvs").join(dir).join(file)
}

fn write(place: &PathBuf, body: &mut Body) -> io::Result<()> {
    let dir = place.parent().unwrap_or(place);
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    let copied = io::copy(&mut body.take(MOST + 1), &mut file)?;
    if copied > MOST {
        return Err(io::Error::other(format!("it is longer than {MOST} bytes")));
    }
    file.flush()?;
    rustix::fs::fchmod(file.as_file(), rustix::fs::Mode::from_raw_mode(0o644))?;
    rename(file.into_temp_path().keep()?, place)
}
