//! Links that keep paths from the garbage collector, made and named as Nix does
//! it: a link anywhere on the host, and below `gcroots/auto` a link to that one.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use musher_protocol::types::Text;
use musher_protocol::worker::{RemoteError, Response};
use nix_derivation::StorePath;

use super::answer::{Answer, failed};
use super::questions::invalid;
use super::rooted::Rooted;
use crate::local::replace_link;

/// `AddIndirectRoot`: what the link points at is kept for as long as it does.
pub(super) fn indirect(store: &Rooted, link: &Text) -> Answer {
    let link = absolute(link)?;
    register(store, &link)?;
    Ok(Response::Unit)
}

/// `AddPermRoot`: makes the link, too.
pub(super) fn permanent(store: &Rooted, path: &StorePath, link: Text) -> Answer {
    let place = absolute(&link)?;
    let target = store.dir().render_path(path);
    store.keep([path]).map_err(failed)?;
    if !store.store.is_valid(path).map_err(failed)? {
        return Err(invalid(&target));
    }
    let made = replace_link(&place, Path::new(&target), |old| {
        old.starts_with(store.dir().as_str())
    });
    made.map_err(|error| cannot_link(&place, &error))?;
    register(store, &place)?;
    Ok(Response::Link(link))
}

/// Has the garbage collector follow `link`.
fn register(store: &Rooted, link: &Path) -> Result<(), RemoteError> {
    let registered = store.store.add_indirect_root(link);
    registered.map_err(failed)
}

/// The place that a client names, which must not depend on where we are.
fn absolute(link: &Text) -> Result<PathBuf, RemoteError> {
    let path = PathBuf::from(OsStr::from_bytes(link.as_bytes()));
    let steps = |part| matches!(part, Component::ParentDir);
    if !path.is_absolute() || path.components().any(steps) {
        return Err(RemoteError::new(format!(
            "`{link}` is no absolute path of a link"
        )));
    }
    Ok(path)
}

fn cannot_link(place: &Path, error: &io::Error) -> RemoteError {
    let place = place.display();
    RemoteError::new(format!("cannot make the link `{place}`: {error}"))
}
