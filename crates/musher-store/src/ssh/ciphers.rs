//! Which cipher a connection is to use that carries whole stores. ssh prefers
//! one that is fast on every processor; where the processor does AES itself,
//! AES-GCM takes half the time. Only the order changes: what the user's ssh
//! would not offer is not offered.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// To come first, in this order.
const FAST: [&str; 2] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];

/// How long ssh may take to say what it would do. A user's configuration can
/// run programs to find out.
const BOUND: Duration = Duration::from_secs(2);

/// The value of ssh's option `Ciphers` to give beside `arguments`; none where
/// what ssh would do anyway is as good, or cannot be found out.
pub(super) async fn faster(arguments: &[OsString]) -> Option<String> {
    if !processor_does_aes() {
        return None;
    }
    let mut ssh = Command::new("ssh");
    ssh.arg("-G")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(BOUND, ssh.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let offered = text
        .lines()
        .find_map(|line| line.strip_prefix("ciphers "))?;
    fast_first(offered)
}

/// What ssh offers, with the fast ones first; none where they are.
fn fast_first(offered: &str) -> Option<String> {
    let offered: Vec<_> = offered.split(',').collect();
    let fast = FAST.into_iter().filter(|cipher| offered.contains(cipher));
    let others = (offered.iter().copied()).filter(|cipher| !FAST.contains(cipher));
    let ordered: Vec<_> = fast.chain(others).collect();
    (ordered != offered).then(|| ordered.join(","))
}

/// As Linux tells it of x86 and of ARM.
fn processor_does_aes() -> bool {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut flags = (told.lines())
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| matches!(name.trim(), "flags" | "Features"));
    flags.any(|(_, flags)| flags.split_whitespace().any(|flag| flag == "aes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_changes() {
        let (chacha, ctr) = ("chacha20-poly1305@openssh.com", "aes128-ctr");
        let [small, large] = FAST;
        let offered = format!("{chacha},{ctr},{large},{small}");
        let wanted = format!("{small},{large},{chacha},{ctr}");
        assert_eq!(fast_first(&offered), Some(wanted.clone()));
        assert_eq!(fast_first(&wanted), None);
        assert_eq!(fast_first(chacha), None);
        let some = fast_first(&format!("{ctr},{large}"));
        assert_eq!(some, Some(format!("{large},{ctr}")));
    }
}
