//! The children of this process, where no namespace ends them.

use std::fs;

use rustix::process::{Pid, getpid};

/// All of them, orphans that fell to this process included.
pub(super) fn children() -> Vec<Pid> {
    let listed = fs::read_to_string("/proc/thread-self/children");
    listed.map_or_else(
        |_| search(),
        |list| list.split_whitespace().filter_map(pid).collect(),
    )
}

/// Where the kernel keeps no list of them.
fn search() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let child = pid(entry.file_name().to_str()?)?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // `pid (name) state parent …`, and the name may hold anything.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
        (parent == own).then_some(child)
    })
    .collect()
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
