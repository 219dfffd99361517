//! `Status`: the core's view as a message.

use std::path::Path;
use std::time::SystemTime;

use musher_api::coordinator as api;
use musher_protocol::worker::Trust;
use musher_scheduler::Presence;
use nix_derivation::StoreDir;

use super::Service;
use super::explained::outlook;
use crate::core::{BuildView, Finished, MachineView, RequestView, View};

pub(super) fn status(view: &View, service: &Service) -> api::StatusReply {
    let store_dir = &service.store_dir;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    api::StatusReply {
        config: shown(&service.config),
        state: shown(&service.state),
        machines: view.machines.iter().map(machine).collect(),
        builds: view
            .builds
            .iter()
            .map(|build| running(build, store_dir))
            .collect(),
        started: unix_seconds(service.started),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        finished: view
            .finished
            .iter()
            .map(|build| finished(build, store_dir))
            .collect(),
        requests: view.requests.iter().map(request).collect(),
    }
}

fn request(view: &RequestView) -> api::OpenRequest {
    api::OpenRequest {
        id: view.id.0,
        owner: view.owner.to_string(),
        outlook: view.expected.as_ref().map(outlook),
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .unwrap_or_default()
}

fn machine(view: &MachineView) -> api::Machine {
    let (state, reason) = match (&view.presence, view.drained) {
        (Presence::Away { reason, .. }, _) => ("away", reason.as_str()),
        (Presence::Available, true) => ("drained", ""),
        (Presence::Available, false) => ("available", ""),
    };
    let info = view.info.as_ref();
    let trust = match info.and_then(|info| info.trust) {
        Some(Trust::Trusted) => "trusted",
        Some(Trust::NotTrusted) => "not trusted",
        None => "unknown",
    };
    api::Machine {
        name: view.spec.id.to_string(),
        systems: view.spec.systems.iter().cloned().collect(),
        slots: view.spec.slots,
        running: u32::try_from(view.running).unwrap_or(u32::MAX),
        speed_factor: view.spec.speed_factor.value(),
        supported_features: view.spec.supported_features.iter().cloned().collect(),
        mandatory_features: view.spec.mandatory_features.iter().cloned().collect(),
        state: state.to_owned(),
        reason: reason.to_owned(),
        connect: view.connect.clone(),
        nix_version: info
            .and_then(|info| info.nix_version.clone())
            .unwrap_or_default(),
        protocol: info.map(|info| info.protocol.clone()).unwrap_or_default(),
        trust: trust.to_owned(),
    }
}

fn running(view: &BuildView, store_dir: &StoreDir) -> api::Build {
    let since = view
        .running_for
        .and_then(|running| SystemTime::now().checked_sub(running));
    api::Build {
        drv_path: store_dir.render_path(&view.drv_path),
        machine: view
            .machine
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        since: since.map(unix_seconds).unwrap_or_default(),
        waiting: view.waiting.clone(),
        watchers: u32::try_from(view.watchers).unwrap_or(u32::MAX),
    }
}

pub(super) fn finished(build: &Finished, store_dir: &StoreDir) -> api::FinishedBuild {
    api::FinishedBuild {
        drv_path: store_dir.render_path(&build.drv_path),
        machine: build
            .machine
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        status: build.status as u32,
        duration_ms: u64::try_from(build.duration.as_millis()).unwrap_or(u64::MAX),
        ended: unix_seconds(build.ended),
        attempts: build.attempts,
    }
}
