//! A new build of what is at home, held against that.

use musher_protocol::types::BuildStatus;
use nix_derivation::StorePath;

use super::graph::Outputs;
use crate::build::Ended;
use crate::home::Home;

/// What a new build shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The same came of it.
    Same,
    /// Something else did.
    Differs {
        /// The output that differs, as it is at home.
        output: StorePath,
    },
    /// Nobody knows, for this reason.
    Unknown(String),
}

impl Checked {
    /// What the build that `ended` shows of the outputs that are `there`, at
    /// home. One that failed shows nothing, and says so itself.
    pub(super) async fn by(home: &Home, there: &Outputs, ended: &Ended) -> Self {
        let is_old = [BuildStatus::AlreadyValid, BuildStatus::Substituted];
        if is_old.contains(&ended.result.status) {
            let text = "the machine that has its outputs does not build them again";
            return Self::Unknown(text.to_owned());
        }
        let paths: Vec<_> = there.values().cloned().collect();
        let infos = match home.store().path_infos(&paths).await {
            Ok(infos) => infos,
            Err(error) => {
                let text = crate::error_text(&error);
                return Self::Unknown(format!("its outputs at home cannot be looked at: {text}"));
            }
        };
        for (name, path) in there {
            let known = infos.iter().find(|info| info.path == *path);
            let new = ended.outputs.get(name);
            let (Some(known), Some(new)) = (known, new) else {
                return Self::Unknown(format!("its output `{name}` is gone"));
            };
            if known.path != new.path || known.nar_hash != new.nar_hash {
                let output = path.clone();
                return Self::Differs { output };
            }
        }
        Self::Same
    }
}
