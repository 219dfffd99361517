//! `BuildPaths` and its kin: what is missing is built as one request, and what
//! is asked for is in the home store afterwards.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use musher_api::coordinator as api;
use musher_protocol::types::{BuildMode, BuildResult, BuildStatus, BuiltOutput, Text};
use musher_protocol::worker::{Feature, OutputId, Realisation, RemoteError, Request, Response};
use nix_derivation::{DerivedPath, DrvOutput, SingleDerivedPath, StoreDir, StorePath};
use tokio::time::Instant;
use tracing::{debug, info};

use super::Session;
use super::build::away;
use super::fetch::Lacking;
use crate::coordinator::{CoordinatorError, Realise, RealiseNews};
use crate::error::{ServeError, coordinator_error};
use crate::request_story::RequestStory;
use crate::story::without_sandbox;
use crate::wire::unless_gone;

/// What the client wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Whether all is there: `BuildPaths`.
    Success,
    /// How each ended: `BuildPathsWithResults`.
    Results,
}

/// What woke a session that follows a request.
enum Woke {
    News(Result<RealiseNews, CoordinatorError>),
    Waited,
}

/// How a request ended.
struct Ended {
    roots: Vec<api::RootEnd>,
    /// The ends of its builds, by derivation (absolute).
    builds: BTreeMap<String, Box<api::BuildEnd>>,
}

impl Session {
    /// Has all of `wanted` built that is not there, and answers the client.
    pub(super) async fn realise(
        &mut self,
        wanted: Vec<DerivedPath>,
        mode: BuildMode,
        tell: Tell,
    ) -> Result<(), ServeError> {
        if let Some(error) = self.leaves_to_home(&wanted, mode) {
            return match error {
                Some(error) => self.refuse(&error),
                None => self.pass(request(wanted, mode, tell)).await,
            };
        }
        let lacking = match self.fetch(&wanted, mode).await? {
            Ok(lacking) => lacking,
            Err(error) => return self.refuse(&error),
        };
        if self.rights.own_home
            && tell == Tell::Success
            && let Some(error) = &lacking.reason
        {
            return self.refuse(error);
        }
        let roots = roots(&wanted, &lacking, &self.store_dir);
        let is_there = mode == BuildMode::Normal && !lacking.builds;
        if roots.is_empty() || is_there || self.is_unforeseen(&wanted).await? {
            // The home store knows what is there, and what cannot be had.
            return self.pass(request(wanted, mode, tell)).await;
        }
        let wish = api::RealiseRequest {
            roots,
            keep_going: self.how.keep_going,
            keep_failed: self.rights.store_entrance && self.how.keep_failed,
            limits: Some(self.limits),
            check: mode == BuildMode::Check,
            // That was done, with the client's own settings and rights.
            no_substitutes: mode == BuildMode::Normal || !self.how.substitute,
            ..Default::default()
        };
        let mut realise = Realise::new(wish);
        let ended = match self.follow_request(&mut realise).await? {
            Ok(ended) => ended,
            Err(error) => return self.refuse(&coordinator_error(&error)),
        };
        info!(
            roots = ended.roots.len(),
            builds = ended.builds.len(),
            "request ended"
        );
        let outputs = outputs(&ended.roots, &self.store_dir);
        // Until the client has roots of its own. The stream keeps them until
        // then.
        self.root(&outputs).await?;
        if self.rights.own_home {
            self.remember(&ended.roots).await?;
        }
        drop(realise);
        let answer = match tell {
            Tell::Success => match ended.failure(&lacking) {
                Some(error) => Err(error),
                None => Ok(Response::Unit),
            },
            Tell::Results => Ok(ended.results(wanted, &lacking, &self.store_dir)),
        };
        self.answer(answer);
        Ok(())
    }

    /// Whether what is asked is for the home store alone; if it cannot do it,
    /// why not.
    fn leaves_to_home(
        &self,
        wanted: &[DerivedPath],
        mode: BuildMode,
    ) -> Option<Option<RemoteError>> {
        let refused = |text: String| self.rights.own_home.then(|| RemoteError::new(text));
        if mode == BuildMode::Repair {
            // Nobody else replaces what is in use.
            return Some(refused("this store repairs nothing".to_owned()));
        }
        let made_first = wanted.iter().find(|path| match path {
            DerivedPath::Opaque(_) => false,
            DerivedPath::Built { drv_path, .. } => {
                !matches!(drv_path, SingleDerivedPath::Opaque(_))
            }
        })?;
        let path = made_first.render_legacy(&self.store_dir);
        Some(refused(format!(
            "`{path}` is made by a derivation that has to be made first"
        )))
    }

    /// Whether nobody could be told what an output of `wanted` has come to: a
    /// nix-daemon before 2.35 learns of outputs whose paths do not follow from
    /// the derivation only if it has them built itself.
    async fn is_unforeseen(&mut self, wanted: &[DerivedPath]) -> Result<bool, ServeError> {
        if self.rights.own_home || self.knows_realisations().await? {
            return Ok(false);
        }
        for path in wanted {
            let DerivedPath::Built {
                drv_path: SingleDerivedPath::Opaque(drv_path),
                ..
            } = path
            else {
                continue;
            };
            let map = Request::QueryDerivationOutputMap(drv_path.clone());
            if let Ok(Response::OutputMap(map)) = self.ask(vec![map]).await?
                && map.values().any(Option::is_none)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the home store knows outputs by their derivations' paths.
    async fn knows_realisations(&mut self) -> Result<bool, ServeError> {
        let negotiated = unless_gone(&mut self.client, self.home.negotiated()).await?;
        // One that cannot be reached says so when it is asked something.
        Ok(negotiated.is_ok_and(|it| it.features.contains(&Feature::RealisationWithPath)))
    }

    /// Has the home store know which paths the outputs of `roots` turned out to
    /// be, where the derivation itself does not say.
    async fn remember(&mut self, roots: &[api::RootEnd]) -> Result<(), ServeError> {
        for root in roots.iter().filter(|root| is_there(root)) {
            let Ok(drv_path) = self.store_dir.parse_path(root.drv_path.as_bytes()) else {
                continue;
            };
            let map = Request::QueryDerivationOutputMap(drv_path.clone());
            let Ok(Response::OutputMap(map)) = self.ask(vec![map]).await? else {
                continue;
            };
            let is_new = |(name, _): &(String, BuiltOutput)| map.get(name) == Some(&None);
            let new: Vec<_> = named_outputs(root, &self.store_dir)
                .filter(is_new)
                .map(|(name, output)| {
                    let id = OutputId::Path(DrvOutput::new(drv_path.clone(), name));
                    Request::RegisterDrvOutput(Realisation::new(id, output))
                })
                .collect();
            if !new.is_empty()
                && let Err(error) = self.ask(new).await?
            {
                // What was asked for is there; it may be built once more.
                debug!(error = %error.message, "cannot keep a realisation");
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: &RemoteError) -> Result<(), ServeError> {
        self.client.fail(error);
        Ok(())
    }

    /// Follows a request to its end and tells the client of it.
    async fn follow_request(
        &mut self,
        realise: &mut Realise,
    ) -> Result<Result<Ended, CoordinatorError>, ServeError> {
        let mut story = RequestStory::new(self.ids.clone());
        let mut builds = BTreeMap::new();
        loop {
            let deadline = story.deadline();
            let waited = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let woke = tokio::select! {
                biased;
                news = realise.next(&mut self.coordinator) => Woke::News(news),
                () = waited => Woke::Waited,
                gone = self.client.gone() => return Err(gone.into()),
            };
            let now = Instant::now();
            let messages = match woke {
                Woke::Waited => story.waited(now),
                Woke::News(Ok(RealiseNews::CoordinatorAway)) => vec![away(&self.coordinator)],
                Woke::News(Ok(RealiseNews::Waiting { drv_path, reason })) => {
                    story.waits(now, drv_path, reason)
                }
                Woke::News(Ok(RealiseNews::Started { drv_path, machine })) => {
                    story.starts(drv_path, &machine)
                }
                Woke::News(Ok(RealiseNews::Log { drv_path, bytes })) => {
                    story.logs(&drv_path, bytes)
                }
                Woke::News(Ok(RealiseNews::Ended { drv_path, end })) => {
                    let mut messages = story.ends(now, &drv_path);
                    let bare = without_sandbox(&drv_path, &end.machine, end.usage.as_ref());
                    messages.extend(bare);
                    builds.insert(drv_path, end);
                    messages
                }
                Woke::News(Ok(RealiseNews::Done(roots))) => {
                    self.client.say(story.end());
                    return Ok(Ok(Ended { roots, builds }));
                }
                Woke::News(Err(error)) => {
                    self.client.say(story.end());
                    return Ok(Err(error));
                }
            };
            self.client.say(messages);
            self.client.flush().await?;
        }
    }
}

impl Ended {
    /// Why not all of it is there.
    fn failure(&self, lacking: &Lacking) -> Option<RemoteError> {
        let failed = self.roots.iter().filter(|root| !is_there(root));
        let culprits: BTreeSet<&str> = failed.map(culprit).collect();
        let errors: Vec<_> = culprits
            .into_iter()
            .map(|drv_path| self.reason(drv_path))
            .chain(
                lacking
                    .reason
                    .as_ref()
                    .map(|error| error.message.to_string()),
            )
            .collect();
        (!errors.is_empty()).then(|| RemoteError::new(errors.join("\n")))
    }

    /// Why a derivation (absolute) was not built.
    fn reason(&self, drv_path: &str) -> String {
        let end = self.builds.get(drv_path);
        let error = end.map(|end| String::from_utf8_lossy(&end.error));
        match error.filter(|error| !error.is_empty()) {
            Some(error) if error.contains(drv_path) => error.into_owned(),
            Some(error) => format!("build of '{drv_path}' failed: {error}"),
            None => format!("'{drv_path}' was not built, or its outputs did not come home"),
        }
    }

    /// How each of `wanted` ended.
    fn results(
        &self,
        wanted: Vec<DerivedPath>,
        lacking: &Lacking,
        store_dir: &StoreDir,
    ) -> Response {
        let mut roots = self.roots.iter();
        let results = wanted.into_iter().map(|path| {
            let result = match &path {
                DerivedPath::Opaque(_) => lacking.result(&path),
                DerivedPath::Built { .. } if lacking.is_lacking(&path) => lacking.result(&path),
                // In the order asked.
                DerivedPath::Built { .. } => match roots.next() {
                    Some(root) => self.result(root, store_dir),
                    None => BuildResult::new(BuildStatus::MiscFailure, "it was forgotten"),
                },
            };
            (path, result)
        });
        Response::KeyedBuildResults(results.collect())
    }

    fn result(&self, root: &api::RootEnd, store_dir: &StoreDir) -> BuildResult {
        if is_there(root) {
            let status = match self.builds.contains_key(&root.drv_path) {
                true => BuildStatus::Built,
                false => BuildStatus::AlreadyValid,
            };
            let mut result = BuildResult::new(status, "");
            result.times_built = u64::from(status == BuildStatus::Built);
            result.built_outputs = named_outputs(root, store_dir).collect();
            return result;
        }
        let culprit = culprit(root);
        let end = self.builds.get(culprit);
        let status = end.and_then(|end| {
            let status = BuildStatus::ALL.get(usize::try_from(end.status).ok()?);
            status.copied().filter(|status| !status.is_success())
        });
        match end {
            Some(end) if culprit == root.drv_path => BuildResult::new(
                status.unwrap_or(BuildStatus::MiscFailure),
                Text::from(Bytes::from(end.error.clone())),
            ),
            Some(_) | None => BuildResult::new(BuildStatus::DependencyFailed, self.reason(culprit)),
        }
    }
}

/// What is wanted, as the client asked for it.
fn request(paths: Vec<DerivedPath>, mode: BuildMode, tell: Tell) -> Request {
    match tell {
        Tell::Success => Request::BuildPaths { paths, mode },
        Tell::Results => Request::BuildPathsWithResults { paths, mode },
    }
}

/// The derivations among `wanted` that are there, for the coordinator.
fn roots(wanted: &[DerivedPath], lacking: &Lacking, store_dir: &StoreDir) -> Vec<api::Root> {
    let there = wanted.iter().filter(|path| !lacking.is_lacking(path));
    let roots = there.filter_map(|path| match path {
        DerivedPath::Built {
            drv_path: SingleDerivedPath::Opaque(drv_path),
            outputs,
        } => Some(api::Root {
            drv_path: store_dir.render_path(drv_path),
            outputs: outputs.clone(),
        }),
        DerivedPath::Built { .. } | DerivedPath::Opaque(_) => None,
    });
    roots.collect()
}

fn is_there(root: &api::RootEnd) -> bool {
    root.culprit.is_empty() && !root.outputs.is_empty()
}

/// The derivation because of which a root is not there.
fn culprit(root: &api::RootEnd) -> &str {
    match root.culprit.is_empty() {
        true => &root.drv_path,
        false => &root.culprit,
    }
}

fn named_outputs(
    root: &api::RootEnd,
    store_dir: &StoreDir,
) -> impl Iterator<Item = (String, BuiltOutput)> {
    root.outputs.iter().filter_map(|(name, path)| {
        let path = store_dir.parse_path(path.as_bytes()).ok()?;
        let output = BuiltOutput {
            drv_hash: None,
            path,
            signatures: BTreeSet::new(),
            dependent_realisations: BTreeMap::new(),
        };
        Some((name.clone(), output))
    })
}

fn outputs(roots: &[api::RootEnd], store_dir: &StoreDir) -> BTreeSet<StorePath> {
    roots
        .iter()
        .flat_map(|root| named_outputs(root, store_dir))
        .map(|(_, output)| output.path)
        .collect()
}
