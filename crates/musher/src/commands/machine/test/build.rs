//! A build that does next to nothing, asked for as the coordinator asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use musher_coordinator::worker::Session;
use musher_protocol::serve::{self, BuildOptions};
use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, NarHash,
};
use musher_protocol::worker::{self, Field, Message, ResultKind, Trust};
use musher_store::{ServeConnection, StoreError, WorkerConnection};
use nix_archive::nar::hash_regular;
use nix_derivation::{DerivationBuilder, DerivedPath, StoreDir, StorePath, ValidatedDerivation};

use super::peer::Peer;
use super::sample::{Sample, SampleError};
use crate::ui::plain;

/// The build program. What a derivation brings along would have to be copied
/// first; this is what most sandboxes have.
const SHELL: &str = "/bin/sh";

/// How Nix refuses those it does not trust.
const NOT_PRIVILEGED: &str = "not privileged to build";

/// How Nix refuses what it cannot build.
const OTHER_SYSTEM: &str = " is required to build ";

/// How long to wait for the last lines of a log once a build's end is known.
const LAST_LINES: Duration = Duration::from_millis(100);

/// A derivation that nobody has built before.
pub(in super::super) struct Trivial {
    derivation: ValidatedDerivation,
    out: StorePath,
    /// The hash of what it makes.
    expected: NarHash,
}

/// Why a trivial build came to nothing.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum BuildError {
    #[error("cannot make a derivation to build")]
    Derivation(#[source] nix_derivation::Error),
    #[error("cannot send the derivation")]
    Sample(#[source] SampleError),
    #[error("cannot have it built")]
    Store(#[source] StoreError),
    /// The sandbox has no shell, so that this build cannot run.
    #[error("there is no `{SHELL}` to build with")]
    NoShell,
    #[error("the build failed: {error}")]
    Failed { error: String, log: Vec<String> },
    #[error("the build succeeded, but its output is not valid there")]
    NoOutput,
    #[error("the build's output is not what it made")]
    OtherOutput,
}

impl BuildError {
    /// Advice the user can act on, if there is any.
    pub(in super::super) fn help(&self) -> Option<String> {
        match self {
            Self::Store(error) if text_of(error).contains(NOT_PRIVILEGED) => Some(
                "it does not trust this user, which nothing but `ssh-ng://` can tell: connect by \
                 that, or add the user to `trusted-users` in the nix.conf there"
                    .to_owned(),
            ),
            Self::Store(error) => error.help(),
            Self::Failed { error, .. } if error.contains(OTHER_SYSTEM) => Some(
                "it builds for other systems than its `systems` says; correct that, or set \
                 `extra-platforms` in the nix.conf there"
                    .to_owned(),
            ),
            Self::Failed { log, .. } if !log.is_empty() => {
                Some(format!("its log ends with\n{}", log.join("\n")))
            }
            Self::NoShell => Some(format!(
                "derivations that bring their own shell, as those of nixpkgs do, build all the \
                 same; `sandbox-paths = {SHELL}=FILE` in the nix.conf there gives the others one \
                 (a static one, like busybox)"
            )),
            Self::Failed { .. }
            | Self::Derivation(_)
            | Self::Sample(_)
            | Self::NoOutput
            | Self::OtherOutput => None,
        }
    }
}

/// How a build ended, and what it said.
struct Ended {
    result: BuildResult,
    log: Vec<String>,
    /// Whether it ran in a sandbox, where that is told.
    sandboxed: Option<bool>,
}

impl Trivial {
    /// A derivation for `system` with a number in it.
    pub(in super::super) fn new(store_dir: &StoreDir, system: &str) -> Result<Self, BuildError> {
        let number: u128 = rand::random();
        let content = format!("{number:032x}");
        let name = "musher-test-build";
        let derivation = DerivationBuilder::new_in_store(store_dir.clone(), name, system, SHELL)
            .input_addressed_output("out")
            .argument("-c")
            // Only what the shell itself can do: there is nothing else.
            .argument(format!("echo {content} > $out"))
            .build()
            .map_err(BuildError::Derivation)?;
        let out = derivation.resolved_outputs().remove("out");
        let Some(out) = out.and_then(|out| out.path) else {
            unreachable!("bug: an input-addressed output has no path");
        };
        let hash = hash_regular(format!("{content}\n").as_bytes(), false);
        Ok(Self {
            derivation,
            out,
            expected: NarHash(hash.sha256),
        })
    }

    /// Has it built, and looks at what came of it. On a worker of ours it sees
    /// `sandbox_paths`. Says whether it ran in a sandbox, where that is told.
    pub(in super::super) async fn build(
        &self,
        peer: &Peer,
        trust: Option<Trust>,
        sandbox_paths: &[String],
    ) -> Result<Option<bool>, BuildError> {
        let store = peer.store();
        if trust == Some(Trust::NotTrusted) {
            // A stranger's word is not enough there: the derivation itself is.
            let drv = self.derivation.to_aterm_bytes();
            let name = self.derivation.drv_path().name().to_owned();
            let drv = Sample::text(store.store_dir(), &name, &drv).map_err(BuildError::Sample)?;
            let sent = store.import(std::slice::from_ref(&drv.info), &drv).await;
            sent.map_err(BuildError::Store)?;
        }
        let ended = match peer {
            Peer::Musher(session) => self.on_musher(session, sandbox_paths).await,
            Peer::Worker(store) => match store.connection().await {
                Ok(connection) => self.on_worker(connection, trust).await,
                Err(error) => Err(error),
            },
            Peer::Serve { store, .. } => match store.connection().await {
                Ok(connection) => self.on_serve(connection, trust).await,
                Err(error) => Err(error),
            },
        };
        let ended = ended.map_err(BuildError::Store)?;
        judge(&ended)?;
        let infos = store.path_infos(std::slice::from_ref(&self.out)).await;
        match infos.map_err(BuildError::Store)?.first() {
            None => Err(BuildError::NoOutput),
            Some(info) if info.nar_hash != self.expected => Err(BuildError::OtherOutput),
            Some(_) => Ok(ended.sandboxed),
        }
    }

    async fn on_worker(
        &self,
        mut connection: WorkerConnection,
        trust: Option<Trust>,
    ) -> Result<Ended, StoreError> {
        let mut log = Vec::new();
        let mut hear = |message: Message| {
            if let Message::Result { kind, fields, .. } = &message
                && *kind == ResultKind::BUILD_LOG_LINE
                && let Some(Field::Text(line)) = fields.first()
            {
                log.push(line.to_string());
            }
        };
        let mode = BuildMode::Normal;
        let request = match trust {
            Some(Trust::NotTrusted) => worker::Request::BuildPathsWithResults {
                paths: vec![self.all_outputs()],
                mode,
            },
            Some(Trust::Trusted) | None => worker::Request::BuildDerivation {
                drv_path: self.derivation.drv_path(),
                derivation: self.basic(),
                mode,
            },
        };
        let answer = connection.call(request, &mut hear).await?;
        let result = if let worker::Response::BuildResult(result) = answer {
            result
        } else if let worker::Response::KeyedBuildResults(results) = &answer
            && let [(_, result)] = results.as_slice()
        {
            result.clone()
        } else {
            return Err(unexpected(&answer));
        };
        Ok(Ended {
            result,
            log,
            sandboxed: None,
        })
    }

    async fn on_serve(
        &self,
        mut connection: ServeConnection,
        trust: Option<Trust>,
    ) -> Result<Ended, StoreError> {
        let options = BuildOptions::default();
        let request = match trust {
            Some(Trust::NotTrusted) => serve::Request::BuildPaths {
                paths: vec![
                    self.all_outputs()
                        .render_legacy(self.derivation.store_dir()),
                ],
                options,
            },
            Some(Trust::Trusted) | None => serve::Request::BuildDerivation {
                drv_path: self.derivation.drv_path(),
                derivation: self.basic(),
                options,
            },
        };
        let answer = connection.call(&request).await?;
        let result = if let serve::Response::Built(result) = answer {
            result
        } else if let serve::Response::PathsBuilt(built) = answer {
            match built {
                Ok(()) => BuildResult::new(BuildStatus::Built, ""),
                Err(failure) => BuildResult::new(BuildStatus::MiscFailure, failure.message),
            }
        } else {
            return Err(unexpected(&answer));
        };
        let mut log = Vec::new();
        if let (false, Some(stderr)) = (result.status.is_success(), connection.peer().stderr()) {
            // It goes on; what it has said by then is enough.
            let _ = tokio::time::timeout(LAST_LINES, stderr.ended()).await;
            log = stderr.tail();
        }
        Ok(Ended {
            result,
            log,
            sandboxed: None,
        })
    }

    async fn on_musher(
        &self,
        session: &Session,
        sandbox_paths: &[String],
    ) -> Result<Ended, StoreError> {
        let drv_path = self.derivation.drv_path();
        let derivation = self.basic();
        let tried = session.try_build(&drv_path, &derivation, sandbox_paths);
        let tried = tried.await?;
        Ok(Ended {
            result: tried.result,
            log: tried.log,
            sandboxed: Some(tried.sandboxed),
        })
    }

    /// `drv^*`.
    fn all_outputs(&self) -> DerivedPath {
        let store_dir = self.derivation.store_dir();
        let text = format!("{}!*", store_dir.render_path(&self.derivation.drv_path()));
        match DerivedPath::parse_legacy_in(store_dir, &text) {
            Ok(path) => path,
            Err(error) => unreachable!("bug: `{text}` is no derived path: {error}"),
        }
    }

    fn basic(&self) -> BasicDerivation {
        let out = BasicOutput {
            path: Some(self.out.clone()),
            hash_algo: String::new(),
            hash: String::new(),
        };
        BasicDerivation {
            outputs: BTreeMap::from([("out".to_owned(), out)]),
            input_sources: BTreeSet::new(),
            system: self.derivation.system().to_owned(),
            builder: self.derivation.builder().to_owned(),
            args: self.derivation.arguments().to_vec(),
            env: self.derivation.environment().clone(),
        }
    }
}

fn text_of(error: &StoreError) -> String {
    plain(&error.to_string())
}

fn unexpected(found: &dyn std::fmt::Debug) -> StoreError {
    StoreError::Unexpected {
        expected: "a build result",
        found: format!("{found:?}"),
    }
}

/// Tells a build that could not run here from one that failed.
fn judge(ended: &Ended) -> Result<(), BuildError> {
    const KEPT: usize = 5;
    if ended.result.status.is_success() {
        return Ok(());
    }
    let error = plain(&ended.result.error.to_string());
    let log = ended.log.iter().map(|line| plain(line));
    let log: Vec<_> = log.filter(|line| !line.is_empty()).collect();
    // As Nix puts it, from 2.3 to today.
    let no_shell = format!("executing '{SHELL}': No such file or directory");
    if error.contains(&no_shell) || log.iter().any(|line| line.contains(&no_shell)) {
        return Err(BuildError::NoShell);
    }
    // Where Nix repeats the log, what is before that says all.
    let error = match (log.is_empty(), error.split_once(";\nlast ")) {
        (false, Some((error, _))) => error.to_owned(),
        _ => error,
    };
    let log = log[log.len().saturating_sub(KEPT)..].to_vec();
    Err(BuildError::Failed { error, log })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(error: &str, log: &[&str]) -> Result<(), BuildError> {
        judge(&Ended {
            result: BuildResult::new(BuildStatus::PermanentFailure, error),
            log: log.iter().map(|&line| line.to_owned()).collect(),
            sandboxed: None,
        })
    }

    #[test]
    fn a_missing_shell_is_told_apart() {
        let words = "setting up: executing '\x1b[35;1m/bin/sh\x1b[0m': No such file or directory";
        assert!(matches!(judged(words, &[]), Err(BuildError::NoShell)));
        let failed = judged("builder failed", &["x", words]);
        assert!(matches!(failed, Err(BuildError::NoShell)));
        let other = judged(
            "failed;\nlast 6 log lines:\n> a",
            &["a", "b", "c", "d", "e", "f"],
        );
        let other = other.expect_err("a failure");
        assert_eq!(other.to_string(), "the build failed: failed");
        let help = other.help();
        assert_eq!(help.as_deref(), Some("its log ends with\nb\nc\nd\ne\nf"));
    }
}
