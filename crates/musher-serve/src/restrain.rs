//! What an untrusted client may ask over a connection that is trusted: the
//! line that nix-daemon draws, drawn here for clients that are less than the
//! user they run as. Knows nothing of builds by derivation.

use musher_protocol::types::{BuildMode, PathInfo};
use musher_protocol::worker::{Options, RemoteError, Request};

/// The settings that a stranger may make for itself.
const HARMLESS: [&str; 5] = [
    "timeout",
    "max-silent-time",
    "max-build-log-size",
    "build-poll-interval",
    "connect-timeout",
];

/// `request` without what only the trusted may ask for, or why nothing is left
/// of it.
pub(crate) fn restrain(mut request: Request) -> Result<Request, RemoteError> {
    match &mut request {
        Request::BuildPaths { mode, .. } | Request::BuildPathsWithResults { mode, .. } => {
            may_build(*mode)?;
        }
        Request::AddToStore { repair, .. } => *repair = false,
        Request::AddToStoreNar {
            info,
            repair,
            dont_check_sigs,
        } => {
            *repair = false;
            *dont_check_sigs = false;
            restrain_info(info);
        }
        Request::AddMultipleToStore {
            repair,
            dont_check_sigs,
            ..
        } => {
            *repair = false;
            *dont_check_sigs = false;
        }
        Request::SetOptions(options) => restrain_options(options),
        Request::VerifyStore { repair: true, .. } => {
            return Err(RemoteError::new("you are not privileged to repair paths"));
        }
        Request::FindRoots => {
            return Err(RemoteError::new(
                "you are not privileged to see what is kept",
            ));
        }
        Request::AddPermRoot { .. } => {
            return Err(RemoteError::new("you are not privileged to create roots"));
        }
        Request::AddBuildLog { .. } => {
            return Err(RemoteError::new("you are not privileged to add logs"));
        }
        Request::IsValidPath(_)
        | Request::QueryReferrers(_)
        | Request::AddNarToStore { .. }
        | Request::AddTextToStore { .. }
        | Request::EnsurePath(_)
        | Request::AddTempRoot(_)
        | Request::AddIndirectRoot(_)
        | Request::SyncWithGc
        | Request::QueryDeriver(_)
        | Request::CollectGarbage(_)
        | Request::QuerySubstitutablePathInfo(_)
        | Request::QueryDerivationOutputs(_)
        | Request::QueryAllValidPaths
        | Request::QueryPathInfo(_)
        | Request::QueryDerivationOutputNames(_)
        | Request::QueryPathFromHashPart(_)
        | Request::QuerySubstitutablePathInfos(_)
        | Request::QueryValidPaths { .. }
        | Request::QuerySubstitutablePaths(_)
        | Request::QueryValidDerivers(_)
        | Request::OptimiseStore
        | Request::VerifyStore { .. }
        | Request::BuildDerivation { .. }
        | Request::AddSignatures { .. }
        | Request::NarFromPath(_)
        | Request::QueryMissing(_)
        | Request::QueryDerivationOutputMap(_)
        | Request::RegisterDrvOutput(_)
        | Request::QueryRealisation(_)
        | Request::SubmitOutput { .. }
        | Request::AddToStoreScanning { .. } => {}
    }
    Ok(request)
}

/// What a path's info may not claim.
pub(crate) fn restrain_info(info: &mut PathInfo) {
    info.ultimate = false;
}

/// Repairing replaces paths while others use them.
pub(crate) fn may_build(mode: BuildMode) -> Result<(), RemoteError> {
    match mode {
        BuildMode::Normal | BuildMode::Check => Ok(()),
        BuildMode::Repair => Err(RemoteError::new(
            "repairing is not allowed because you are not in 'trusted-users'",
        )),
    }
}

fn restrain_options(options: &mut Options) {
    options
        .overrides
        .retain(|name, _| HARMLESS.contains(&name.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use musher_protocol::types::Text;

    #[test]
    fn uploads_have_to_be_signed() {
        let request = Request::AddMultipleToStore {
            repair: true,
            dont_check_sigs: true,
            count: 3,
        };
        let expected = Request::AddMultipleToStore {
            repair: false,
            dont_check_sigs: false,
            count: 3,
        };
        assert_eq!(restrain(request), Ok(expected));
    }

    #[test]
    fn settings_that_matter_to_others_are_left_out() {
        let names = ["timeout", "sandbox", "post-build-hook"];
        let options = Options {
            overrides: names.map(|name| (name.to_owned(), Text::from("1"))).into(),
            ..Options::default()
        };
        let Ok(Request::SetOptions(left)) = restrain(Request::SetOptions(options)) else {
            panic!("settings are never refused");
        };
        assert_eq!(left.overrides.keys().collect::<Vec<_>>(), ["timeout"]);
    }

    #[test]
    fn repairing_is_refused() {
        let build = Request::BuildPaths {
            paths: Vec::new(),
            mode: BuildMode::Repair,
        };
        assert!(restrain(build).is_err());
        let verify = Request::VerifyStore {
            check_contents: true,
            repair: true,
        };
        assert!(restrain(verify).is_err());
    }
}
