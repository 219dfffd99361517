//! How often the kernel killed a process for memory since the machine started: a
//! hint where no control group says whose it was.

/// None where the kernel does not say.
pub(super) fn deaths() -> Option<u64> {
    let counters = std::fs::read_to_string("/proc/vmstat").ok()?;
    let count = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    count.trim().parse().ok()
}
