//! What keeps this machine from building, or from measuring builds, as a
//! coordinator is told.

use std::path::Path;

use musher_api::worker as api;
use musher_sandbox::{Finding, Ids, Launcher, Loss, probe};
use tokio::task::spawn_blocking;

use crate::executor::Identities;

/// The subject of what keeps builds from being sandboxed.
pub(crate) const SANDBOX: &str = "sandbox";

/// Tries out what builds need, below the directory `dir`. Where they are not to
/// be `sandboxed`, that is what there is to say.
pub(super) async fn findings(dir: &Path, sandboxed: bool) -> Vec<api::Finding> {
    if !sandboxed {
        return vec![api::Finding {
            subject: SANDBOX.to_owned(),
            text: "builds are not sandboxed here, as was asked for".to_owned(),
            help: String::new(),
            fatal: false,
        }];
    }
    let slot = match Identities::detect() {
        Identities::Slots { first } => first,
        Identities::Own => rustix::process::geteuid().as_raw(),
    };
    let ids = Ids {
        uid: slot,
        gid: slot,
    };
    let dir = dir.to_owned();
    let tried = spawn_blocking(move || probe(&Launcher::this_program(), &dir, ids));
    match tried.await.map_err(std::io::Error::other).flatten() {
        Ok(found) => found.findings.into_iter().map(message).collect(),
        Err(error) => vec![api::Finding {
            subject: SANDBOX.to_owned(),
            text: format!("whether builds can be sandboxed cannot be tried out: {error}"),
            help: String::new(),
            fatal: true,
        }],
    }
}

fn message(finding: Finding) -> api::Finding {
    let (subject, fatal) = match finding.loss {
        Loss::Sandbox => (SANDBOX, true),
        Loss::AbstractSockets => ("abstract-sockets", false),
        Loss::Accounting => ("accounting", false),
    };
    let text = match finding.cause {
        Some(cause) => format!("{}: {cause}", finding.what),
        None => finding.what,
    };
    api::Finding {
        subject: subject.to_owned(),
        text,
        help: finding.help.unwrap_or_default(),
        fatal,
    }
}
