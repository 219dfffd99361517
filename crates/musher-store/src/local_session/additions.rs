//! Paths that a client adds with all that is known of them.

use std::io::{self, Read as _};

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{RemoteError, Response};

use super::answer::{Answer, failed};
use super::body::Body;
use super::rooted::Rooted;
use crate::local::{ImportChecks, Signatures};

/// How a client wants paths to be added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether to replace what is there.
    pub(super) repair: bool,
    /// Whether to do without signatures.
    pub(super) dont_check_sigs: bool,
}

impl Manner {
    fn checks(self, store: &Rooted) -> ImportChecks {
        ImportChecks {
            signatures: match self.dont_check_sigs {
                true => Signatures::NotNeeded,
                false => Signatures::Required(store.keys()),
            },
            repair: self.repair,
        }
    }
}

/// `AddToStoreNar`
pub(super) fn one(store: &Rooted, info: &PathInfo, manner: Manner, body: &mut Body) -> Answer {
    // First, so that nobody collects it between its registration and the
    // client's next request.
    store.keep([&info.path]).map_err(failed)?;
    let importer = store.store.importer(manner.checks(store));
    let importer = importer.map_err(failed)?.one_by_one();
    let mut importer = importer.while_wanted(store.wanted());
    let nar = &mut body.take(info.nar_size);
    importer.add(info, nar).map_err(failed)?;
    importer.finish().map_err(failed)?;
    // A client that sends more than it said sends something else.
    body.skip().map_err(|error| broken(&error))?;
    Ok(Response::Unit)
}

/// `AddMultipleToStore`
pub(super) fn many(store: &Rooted, manner: Manner, body: &mut Body) -> Answer {
    let importer = store.store.importer(manner.checks(store));
    let mut importer = importer.map_err(failed)?.while_wanted(store.wanted());
    let mut added = Vec::new();
    while let Some(info) = body.next_path().map_err(|error| broken(&error))? {
        importer.add(&info, body).map_err(failed)?;
        added.push(info.path);
    }
    // The importer has kept them so far.
    store.keep(&added).map_err(failed)?;
    importer.finish().map_err(failed)?;
    Ok(Response::Unit)
}

/// An upload that does not come to its end.
pub(super) fn broken(error: &io::Error) -> RemoteError {
    RemoteError::new(format!("cannot read what is to be added: {error}"))
}
