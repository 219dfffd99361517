//! Looking after a store: its garbage, its health, what is known of its paths
//! beside their content.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use musher_protocol::types::Text;
use musher_protocol::worker::{
    GarbageAction, GarbagePaths, GarbageRun, Message, Realisation, RemoteError, Response, Root,
};
use nix_derivation::StorePath;

use super::answer::{Answer, Say, failed};
use super::questions::key;
use super::rooted::Rooted;
use crate::local::{Damage, Garbage, GcOptions, StoredRealisation, VerifyOptions};

/// What stands for the link of a path that something uses.
const IN_USE: &str = "{temp}";

/// `AddSignatures`
pub(super) fn sign(store: &Rooted, path: &StorePath, signatures: &BTreeSet<String>) -> Answer {
    let signed = store.store.add_signatures(path, signatures);
    signed.map_err(failed)?;
    Ok(Response::Unit)
}

/// `RegisterDrvOutput`
pub(super) fn realise(store: &Rooted, realisation: &Realisation) -> Answer {
    let stored = StoredRealisation {
        keys: [key(&realisation.id)].into(),
        output: realisation.id.output().to_owned(),
        path: realisation.path.clone(),
        signatures: realisation.signatures.clone(),
    };
    let registered = store.store.register_realisation(&stored);
    registered.map_err(failed)?;
    Ok(Response::Unit)
}

/// `FindRoots`
pub(super) fn find_roots(store: &Rooted) -> Answer {
    let found = store.store.find_roots().map_err(failed)?;
    let roots = found.into_iter().map(|root| Root {
        link: match &root.link {
            Some(link) => Text::from(Bytes::copy_from_slice(link.as_os_str().as_bytes())),
            None => Text::from(IN_USE),
        },
        target: root.path,
    });
    Ok(Response::Roots(roots.collect()))
}

/// `CollectGarbage`
pub(super) fn collect_garbage(store: &Rooted, run: &GarbageRun) -> Answer {
    if run.ignore_liveness {
        return Err(RemoteError::new("nobody may delete what is in use"));
    }
    let mut options = GcOptions::new(garbage(run)?);
    options.dry_run = match run.action {
        GarbageAction::ReturnLive | GarbageAction::ReturnDead => true,
        GarbageAction::DeleteDead | GarbageAction::DeleteSpecific => false,
    };
    let report = store.store.collect_garbage(&options, &mut |_| ());
    let report = report.map_err(failed)?;
    let shown = |path: &StorePath| Text::from(store.dir().render_path(path));
    Ok(Response::Garbage {
        paths: match run.action {
            GarbageAction::ReturnLive => report.live.iter().map(shown).collect(),
            GarbageAction::ReturnDead
            | GarbageAction::DeleteDead
            | GarbageAction::DeleteSpecific => report.paths.iter().map(shown).collect(),
        },
        bytes_freed: match options.dry_run {
            true => 0,
            false => report.freed,
        },
    })
}

fn garbage(run: &GarbageRun) -> Result<Garbage, RemoteError> {
    match (&run.paths, run.action) {
        (GarbagePaths::Specific { paths, .. }, GarbageAction::DeleteSpecific) => {
            Ok(Garbage::These(paths.clone()))
        }
        // A feature that is not offered.
        (GarbagePaths::Specific { .. }, _) | (_, GarbageAction::DeleteSpecific) => Err(
            RemoteError::new("garbage is collected in the whole store, or given paths are deleted"),
        ),
        (GarbagePaths::WholeStore, GarbageAction::DeleteDead) if run.max_freed < u64::MAX => {
            Ok(Garbage::Bytes(run.max_freed))
        }
        (GarbagePaths::WholeStore, _) => Ok(Garbage::All),
    }
}

/// `OptimiseStore`
pub(super) fn optimise(store: &Rooted) -> Answer {
    let optimised = store.store.optimise(&mut |_, _| ());
    optimised.map_err(failed)?;
    Ok(Response::Unit)
}

/// `VerifyStore`: whether there are errors left. There is nowhere to get good
/// contents from, so `repair` does no more than to forget what is gone.
pub(super) fn verify(store: &Rooted, check_contents: bool, say: &mut Say<'_>) -> Answer {
    let options = VerifyOptions {
        contents: check_contents,
        forget: true,
    };
    let report = store.store.verify(options, &mut |_| ());
    let report = report.map_err(failed)?;
    for path in report.unverified {
        let text = format!("warning: {path}: {}\n", path.source);
        say(Message::Next(Text::from(text)));
    }
    let mut left = false;
    for damage in report.damages {
        let (is_left, word) = match &damage {
            Damage::Gone {
                forgotten: true, ..
            } => (false, "warning"),
            Damage::Gone { .. }
            | Damage::Modified { .. }
            | Damage::Unreadable { .. }
            | Damage::Row(_)
            | Damage::Database(_)
            | Damage::Link { .. } => (true, "error"),
        };
        left |= is_left;
        let cause = damage.source().map(|cause| format!(": {cause}"));
        let cause = cause.unwrap_or_default();
        say(Message::Next(Text::from(format!(
            "{word}: {damage}{cause}\n"
        ))));
    }
    Ok(Response::Bool(left))
}
