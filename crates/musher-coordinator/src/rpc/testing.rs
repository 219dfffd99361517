//! The service of a team, for tests of what it answers.

use std::sync::Arc;
use std::time::SystemTime;

use nix_derivation::StoreDir;

use super::Service;
use crate::build::Limits;
use crate::home::{Home, Place};
use crate::kept_logs::KeptLogs;
use crate::testing::Team;

/// The service of `team`.
pub(super) fn service(team: &Team) -> Service {
    Service {
        core: team.core.clone(),
        home: Arc::new(Home::new(team.home.clone(), Place::Elsewhere)),
        store_dir: StoreDir::default(),
        limits: Limits::default(),
        started: SystemTime::now(),
        config: team.logs.path().join("musher.toml"),
        state: team.logs.path().to_owned(),
        logs: Arc::new(KeptLogs::new(team.logs.path().join("kept"))),
        history: team.history.clone(),
        foresight: None,
        reload: Arc::new(|| Box::pin(async { Err("not here".to_owned()) })),
    }
}
