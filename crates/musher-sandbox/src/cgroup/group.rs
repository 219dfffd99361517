//! The control group of one build: what it limits, and what it counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CgroupError, Controller, V1Parent};
use crate::ended::{Accounting, Usage};
use crate::limits::Limits;

/// The control group of one build. Dropping it removes it: by then its processes
/// are gone.
#[derive(Debug)]
pub struct Group {
    dirs: Dirs,
}

#[derive(Debug)]
enum Dirs {
    V2(PathBuf),
    V1(Vec<V1Parent>),
    None,
}

impl Group {
    pub(super) fn none() -> Self {
        Self { dirs: Dirs::None }
    }

    pub(super) fn v2(dir: PathBuf, limits: &Limits) -> Result<Self, CgroupError> {
        make(&dir)?;
        let limited = limit(&dir.join("pids.max"), limits.processes)
            .and_then(|()| limit(&dir.join("memory.max"), limits.memory))
            // A build that lost one process for memory goes on to fail in odd ways.
            .and_then(|()| limit(&dir.join("memory.oom.group"), limits.memory.map(|_| 1)));
        let group = Self {
            dirs: Dirs::V2(dir),
        };
        limited.map(|()| group)
    }

    pub(super) fn v1(dirs: &[V1Parent], limits: &Limits) -> Result<Self, CgroupError> {
        // Dropped on the way out, it takes what was made along.
        let group = Self {
            dirs: Dirs::V1(dirs.to_vec()),
        };
        for V1Parent { controller, dir } in dirs {
            make(dir)?;
            match controller {
                Controller::Memory => limit(&dir.join("memory.limit_in_bytes"), limits.memory)?,
                Controller::Processes => limit(&dir.join("pids.max"), limits.processes)?,
                Controller::Processor => {}
            }
        }
        Ok(group)
    }

    /// What [`Request::cgroup`](crate::Request::cgroup) says for a build to be in it.
    pub fn join(&self) -> Vec<PathBuf> {
        self.dirs()
            .iter()
            .map(|dir| dir.join("cgroup.procs"))
            .collect()
    }

    /// Puts what it counted in place of what was known without it.
    pub fn account(&self, usage: &mut Usage) {
        match &self.dirs {
            Dirs::V2(dir) => account_v2(dir, usage),
            Dirs::V1(dirs) => account_v1(dirs, usage),
            Dirs::None => {}
        }
    }

    fn dirs(&self) -> Vec<&Path> {
        match &self.dirs {
            Dirs::V2(dir) => vec![dir],
            Dirs::V1(dirs) => dirs.iter().map(|parent| parent.dir.as_path()).collect(),
            Dirs::None => Vec::new(),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in self.dirs() {
            // One that is left is removed when the next worker starts.
            fs::remove_dir(dir).ok();
        }
    }
}

fn make(dir: &Path) -> Result<(), CgroupError> {
    fs::create_dir(dir).map_err(|source| CgroupError::Make {
        path: dir.to_path_buf(),
        source,
    })
}

fn limit(file: &Path, most: Option<u64>) -> Result<(), CgroupError> {
    let Some(most) = most else { return Ok(()) };
    fs::write(file, most.to_string()).map_err(|source| CgroupError::Limit {
        path: file.to_path_buf(),
        source,
    })
}

fn account_v2(dir: &Path, usage: &mut Usage) {
    let micros = |text: &str, key| field(text, key).map(Duration::from_micros);
    usage.source = Accounting::CgroupV2;
    let times = read(dir, "cpu.stat");
    usage.cpu_user = micros(&times, "user_usec").unwrap_or(usage.cpu_user);
    usage.cpu_system = micros(&times, "system_usec").unwrap_or(usage.cpu_system);
    // Since Linux 5.19; before, the largest process is the best there is.
    usage.peak_memory = number(dir, "memory.peak").or(usage.peak_memory);
    if let Some(deaths) = field(&read(dir, "memory.events"), "oom_kill") {
        usage.oom_killed = deaths > 0;
    }
    usage.written = written(&read(dir, "io.stat")).or(usage.written);
}

fn account_v1(dirs: &[V1Parent], usage: &mut Usage) {
    usage.source = Accounting::CgroupV1;
    for V1Parent { controller, dir } in dirs {
        match controller {
            Controller::Memory => {
                usage.peak_memory = number(dir, "memory.max_usage_in_bytes").or(usage.peak_memory);
                if let Some(deaths) = field(&read(dir, "memory.oom_control"), "oom_kill") {
                    usage.oom_killed = deaths > 0;
                }
            }
            Controller::Processor => {
                let nanos = |name| number(dir, name).map(Duration::from_nanos);
                usage.cpu_user = nanos("cpuacct.usage_user").unwrap_or(usage.cpu_user);
                usage.cpu_system = nanos("cpuacct.usage_sys").unwrap_or(usage.cpu_system);
            }
            Controller::Processes => {}
        }
    }
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default()
}

fn number(dir: &Path, name: &str) -> Option<u64> {
    read(dir, name).trim().parse().ok()
}

/// The value of a line `key value`.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// The sum over devices, of lines `8:0 rbytes=1 wbytes=2 …`. None if no device is
/// listed, which is so too where the controller is off.
fn written(text: &str) -> Option<u64> {
    let each = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("wbytes=")?.parse().ok());
    each.fold(None, |sum: Option<u64>, bytes: u64| {
        Some(sum.unwrap_or(0) + bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::expect;

    use super::{Dirs, Group};
    use crate::ended::Usage;

    #[test]
    fn what_a_unified_group_counted_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
        put("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n");
        put("memory.peak", "4096\n");
        put(
            "memory.events",
            "low 0\noom 1\noom_kill 2\noom_group_kill 1\n",
        );
        put(
            "io.stat",
            "8:0 rbytes=1 wbytes=100 rios=1\n8:16 rbytes=1 wbytes=11\n",
        );
        let group = Group {
            dirs: Dirs::V2(dir.path().to_path_buf()),
        };
        let mut usage = Usage::default();
        group.account(&mut usage);
        // It is no group: there is nothing to remove.
        std::mem::forget(group);
        expect![[r#"
            Usage {
                wall: 0ns,
                cpu_user: 20µs,
                cpu_system: 10µs,
                peak_memory: Some(
                    4096,
                ),
                written: Some(
                    111,
                ),
                oom_killed: true,
                source: CgroupV2,
            }
        "#]]
        .assert_debug_eq(&usage);
    }
}
