//! The executor as the service's builder: orders and ends from one's words into
//! the other's.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use musher_api::{coordinator, worker as api};
use musher_sandbox::{Bind, Launcher, Status};
use musher_store::local::LocalStore;
use musher_store::open_files;
use rustix::io::Errno;

use super::build::{Build, Ended, Order};
use super::capabilities;
use super::log::LogWriter;
use crate::executor::{
    self, BuildOrder, Executor, Fault, LogEvent, Report, RoomError, Sandboxing, Settings,
};

/// Builds in a store by the executor.
pub struct Execute(Executor);

impl Execute {
    /// An executor for `store` that builds below `build_root`, and whose builds
    /// see `sandbox_paths` of the machine besides what they ask for.
    pub fn open(
        store: Arc<LocalStore>,
        build_root: PathBuf,
        sandbox_paths: Vec<Bind>,
        sandboxing: Sandboxing,
    ) -> Result<Self, RoomError> {
        let found = capabilities::capabilities(store.real_store_dir(), None);
        let mut settings = Settings::new(build_root, Launcher::this_program());
        settings.systems = found.systems;
        settings.features = found.features.into_iter().collect::<BTreeSet<_>>();
        settings.sandbox_paths = sandbox_paths;
        settings.sandboxing = sandboxing;
        settings.builtins = Some(PathBuf::from("/proc/self/exe"));
        // What the worker needs is no business of builds.
        settings.limits.open_files = open_files::before();
        Ok(Self(Executor::open(store, settings)?))
    }
}

#[async_trait]
impl Build for Execute {
    async fn build(&self, order: &Order, slot: u32, log: &mut LogWriter) -> Ended {
        let order = match build_order(order) {
            Ok(order) => order,
            Err(text) => return Ended::fault(api::Fault::Ours, text),
        };
        let mut written = Ok(());
        let mut hear = |event: LogEvent<'_>| {
            if written.is_ok() {
                written = write(log, event);
            }
        };
        let report = self.0.build(order, slot, &mut hear).await;
        match written {
            Ok(()) => ended(report),
            // What it said is lost, so that nobody could tell how it went.
            Err(error) => unwritten(&error),
        }
    }

    async fn vacated(&self, slot: u32) {
        self.0.vacated(slot).await;
    }
}

fn write(log: &mut LogWriter, event: LogEvent<'_>) -> io::Result<()> {
    match event {
        LogEvent::Line(line) => log.line(line),
        LogEvent::Phase(phase) => {
            let phase = serde_json::Value::from(phase);
            let line = format!("@nix {{\"action\":\"setPhase\",\"phase\":{phase}}}");
            log.line(line.as_bytes())
        }
    }
}

fn unwritten(error: &io::Error) -> Ended {
    let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
    let fault = match full.contains(&error.raw_os_error()) {
        true => api::Fault::DiskFull,
        false => api::Fault::Ours,
    };
    Ended::fault(fault, format!("cannot write the build's log: {error}"))
}

fn build_order(order: &Order) -> Result<BuildOrder, String> {
    let paths = order.sandbox_paths.iter().map(|text| {
        sandbox_path(text).ok_or_else(|| format!("`{text}` is no path for the sandbox"))
    });
    Ok(BuildOrder {
        drv_path: order.drv_path.clone(),
        derivation: order.derivation.clone(),
        mode: order.mode,
        limits: executor::Limits {
            max_silent_time: order.limits.max_silent,
            timeout: order.limits.timeout,
            max_log_size: order.limits.max_log,
        },
        cores: (order.cores > 0).then_some(order.cores),
        keep_failed: order.keep_failed,
        sandbox_paths: paths.collect::<Result<_, _>>()?,
    })
}

/// `TARGET[=SOURCE][?]`, as in `sandbox-paths`.
pub fn sandbox_path(text: &str) -> Option<Bind> {
    let (paths, optional) = match text.strip_suffix('?') {
        Some(paths) => (paths, true),
        None => (text, false),
    };
    let (target, source) = paths.split_once('=').unwrap_or((paths, paths));
    (target.starts_with('/') && source.starts_with('/')).then(|| Bind {
        source: PathBuf::from(source),
        target: PathBuf::from(target),
        writable: false,
        optional,
    })
}

fn ended(report: Report) -> Ended {
    let usage = report.exit.map(|exit| usage(&report, exit));
    let fault = match report.fault {
        None => api::Fault::None,
        Some(Fault::DiskFull) => api::Fault::DiskFull,
        Some(Fault::OutOfMemory) => api::Fault::OutOfMemory,
        Some(Fault::Ours) => api::Fault::Ours,
    };
    let fault_text = match report.fault {
        None => String::new(),
        Some(_) => report.result.error.to_string(),
    };
    Ended {
        result: report.result,
        outputs: report.outputs,
        usage,
        fault,
        fault_text,
        kept: report.kept,
    }
}

fn usage(report: &Report, exit: Status) -> coordinator::Usage {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (exit_status, signal) = match exit {
        Status::Exited(status) => (Some(status), None),
        Status::Killed(signal) => (None, Some(signal)),
    };
    coordinator::Usage {
        wall_us: micros(report.usage.wall),
        cpu_user_us: micros(report.usage.cpu_user),
        cpu_system_us: micros(report.usage.cpu_system),
        peak_memory_bytes: report.usage.peak_memory.unwrap_or_default(),
        written_bytes: report.usage.written.unwrap_or_default(),
        source: report.usage.source.to_string(),
        exit_status,
        signal,
        sandboxed: report.sandboxed,
    }
}

#[cfg(test)]
mod tests {
    use super::sandbox_path;

    #[test]
    fn sandbox_paths_are_read_as_nix_reads_them() {
        let read = |text| {
            let bind = sandbox_path(text)?;
            Some((bind.target, bind.source, bind.optional))
        };
        let path =
            |target: &str, source: &str, optional| Some((target.into(), source.into(), optional));
        assert_eq!(read("/dev/kvm?"), path("/dev/kvm", "/dev/kvm", true));
        assert_eq!(
            read("/bin/sh=/usr/bin/busybox"),
            path("/bin/sh", "/usr/bin/busybox", false)
        );
        assert_eq!(read("bin/sh"), None);
    }
}
