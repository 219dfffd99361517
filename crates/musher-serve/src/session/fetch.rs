//! What the home store fetches before anything is built: it asks its own
//! substituters, and those that it lets this client name, with the client's
//! rights and settings.

use std::collections::BTreeSet;

use musher_protocol::types::{BuildMode, BuildResult, BuildStatus};
use musher_protocol::worker::{Missing, RemoteError, Request, Response};
use nix_derivation::{DerivedPath, SingleDerivedPath, StorePath};

use super::{Session, unexpected};
use crate::error::ServeError;

/// What is not there once all was fetched that could be.
#[derive(Debug)]
pub(super) struct Lacking {
    /// Whether something is to be built.
    pub(super) builds: bool,
    /// Wanted paths and derivations that nobody has.
    paths: BTreeSet<StorePath>,
    /// Why they are not there, if any are.
    pub(super) reason: Option<RemoteError>,
}

impl Lacking {
    /// Whether `wanted` cannot be had, nor its derivation.
    pub(super) fn is_lacking(&self, wanted: &DerivedPath) -> bool {
        path_of(wanted).is_some_and(|path| self.paths.contains(path))
    }

    /// How it ended for `wanted`, which nobody builds.
    pub(super) fn result(&self, wanted: &DerivedPath) -> BuildResult {
        match &self.reason {
            Some(reason) if self.is_lacking(wanted) => {
                BuildResult::new(BuildStatus::NoSubstituters, reason.message.clone())
            }
            Some(_) | None => BuildResult::new(BuildStatus::AlreadyValid, ""),
        }
    }
}

impl Session {
    /// Fetches what of `wanted`, and of what is needed to build it, can be
    /// fetched. An error ends the request.
    pub(super) async fn fetch(
        &mut self,
        wanted: &[DerivedPath],
        mode: BuildMode,
    ) -> Result<Result<Lacking, RemoteError>, ServeError> {
        let mut missing = match self.missing(wanted).await? {
            Ok(missing) => missing,
            Err(error) => return Ok(Err(error)),
        };
        let named: BTreeSet<_> = wanted.iter().filter_map(path_of).cloned().collect();
        let unknown = |missing: &Missing| -> BTreeSet<_> {
            named.intersection(&missing.unknown).cloned().collect()
        };
        let mut failed = None;
        if !self.rights.own_home && !unknown(&missing).is_empty() {
            // It looks for derivations elsewhere, too, and has words for it if
            // there are none.
            failed = self.ensure(unknown(&missing)).await?.err();
            missing = match self.missing(wanted).await? {
                Ok(missing) => missing,
                Err(error) => return Ok(Err(error)),
            };
        }
        let mut builds = !missing.will_build.is_empty();
        // What can be fetched to the last path, it fetches when it is asked for
        // what is wanted; but then it must not fall back on building here.
        if mode == BuildMode::Normal && failed.is_none() && (builds || self.how.fallback) {
            failed = self.ensure(missing.will_substitute.clone()).await?.err();
            builds |= failed.is_some();
        }
        if let Some(error) = &failed
            && !self.how.keep_going
            && !self.how.fallback
        {
            return Ok(Err(error.clone()));
        }
        let paths = unknown(&missing);
        let reason = paths.first().map(|path| match failed {
            Some(error) => error,
            None => {
                let path = self.store_dir.render_path(path);
                let text = format!("path '{path}' is not in this store, and nobody can make it");
                RemoteError::new(text)
            }
        });
        Ok(Ok(Lacking {
            builds,
            paths,
            reason,
        }))
    }

    /// What would have to be done for `wanted`.
    async fn missing(
        &mut self,
        wanted: &[DerivedPath],
    ) -> Result<Result<Missing, RemoteError>, ServeError> {
        let request = Request::QueryMissing(wanted.to_vec());
        Ok(match self.ask(vec![request]).await? {
            Ok(Response::Missing(missing)) => Ok(missing),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(error),
        })
    }

    /// Has the home store have `paths`, which nobody builds.
    async fn ensure(
        &mut self,
        paths: BTreeSet<StorePath>,
    ) -> Result<Result<(), RemoteError>, ServeError> {
        if paths.is_empty() {
            return Ok(Ok(()));
        }
        // All at once, and each as far as it goes.
        let request = Request::BuildPaths {
            paths: paths.into_iter().map(DerivedPath::Opaque).collect(),
            mode: BuildMode::Normal,
        };
        Ok(self.ask(vec![request]).await?.map(drop))
    }
}

/// The path that has to be there for `wanted`.
fn path_of(wanted: &DerivedPath) -> Option<&StorePath> {
    match wanted {
        DerivedPath::Opaque(path)
        | DerivedPath::Built {
            drv_path: SingleDerivedPath::Opaque(path),
            ..
        } => Some(path),
        DerivedPath::Built { .. } => None,
    }
}
