//! What this machine has, as a coordinator is told. Reads the system; decides
//! nothing.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use musher_api::{features, worker as api};
use rustix::fs::statvfs;
use rustix::system::uname;

use super::runs_i686::runs_i686;

/// What is on the machine of the store at `store`.
pub(super) fn capabilities(store: &Path, slots: Option<u32>) -> api::Capabilities {
    let (disk_bytes, disk_free_bytes) = disk(store);
    let mut features = features::USUAL.map(ToOwned::to_owned).to_vec();
    if rustix::fs::access(
        "/dev/kvm",
        rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
    )
    .is_ok()
    {
        features.push("kvm".to_owned());
    }
    api::Capabilities {
        systems: systems(&uname().machine().to_string_lossy(), runs_i686()),
        features,
        cores: available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
        memory_bytes: memory("MemTotal:"),
        disk_bytes,
        disk_free_bytes,
        kernel: uname().release().to_string_lossy().into_owned(),
        findings: Vec::new(),
        sandboxed: true,
        slots: slots.unwrap_or_default(),
    }
}

/// What changes from second to second.
pub(super) fn beat(number: u64, attempts: usize, store: &Path, retiring: bool) -> api::Beat {
    api::Beat {
        number,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        disk_free_bytes: disk(store).1,
        memory_free_bytes: memory("MemAvailable:"),
        load_percent: load(),
        retiring,
    }
}

/// The systems that a kernel for `machine` runs, its own first.
fn systems(machine: &str, runs_i686: bool) -> Vec<String> {
    let own = match machine {
        "arm64" => "aarch64",
        "i386" | "i486" | "i586" => "i686",
        other => other,
    };
    let mut systems = vec![format!("{own}-linux")];
    if own == "x86_64" && runs_i686 {
        systems.push("i686-linux".to_owned());
    }
    systems
}

/// The size of a file system and what is free of it for us, in bytes; 0 where
/// that is not known.
pub(super) fn disk(path: &Path) -> (u64, u64) {
    let Ok(found) = statvfs(path) else {
        return (0, 0);
    };
    let size = found.f_frsize;
    (
        found.f_blocks.saturating_mul(size),
        found.f_bavail.saturating_mul(size),
    )
}

/// A line of `/proc/meminfo`, in bytes; 0 where there is none.
fn memory(line: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|found| {
        let rest = found.strip_prefix(line)?.trim();
        rest.strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kib.unwrap_or_default().saturating_mul(1024)
}

fn load() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (whole, hundredths) = (text.split_whitespace().next())
        .and_then(|first| first.split_once('.'))
        .unwrap_or_default();
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    number(whole)
        .saturating_mul(100)
        .saturating_add(number(hundredths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_run_their_own_system_first() {
        let both = systems("x86_64", true);
        assert_eq!(both, ["x86_64-linux", "i686-linux"]);
        assert_eq!(systems("x86_64", false), ["x86_64-linux"]);
        assert_eq!(systems("aarch64", true), ["aarch64-linux"]);
    }

    #[test]
    fn this_machine_has_something() {
        let found = capabilities(Path::new("/"), Some(3));
        assert!(found.cores > 0 && found.memory_bytes > 0 && found.disk_bytes > 0);
        assert_eq!(found.slots, 3);
    }
}
