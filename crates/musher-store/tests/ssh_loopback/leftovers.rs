//! No ssh outlives the process it belongs to, and none that did is mistaken for
//! ours.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use musher_store::ssh::{ControlDir, Link, SshTarget};
use musher_store::url::StoreUrl;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::host::{Host, Sign, gone, kill, masters, words};

/// Tells a run of this very program that it is the process to be killed: the
/// directory of control sockets and the store URL.
const CONTROL: &str = "MUSHER_TEST_CONTROL";
const URL: &str = "MUSHER_TEST_URL";
/// The named pipe by which it tells that it is connected.
const READY: &str = "MUSHER_TEST_READY";

/// Not a test of its own: opens a connection in the process that is killed by
/// the tests below, and waits.
#[tokio::test]
async fn in_a_process_of_its_own() {
    let (Ok(control), Ok(url)) = (std::env::var(CONTROL), std::env::var(URL)) else {
        return;
    };
    let Ok(StoreUrl::Ssh(store)) = url.parse() else {
        panic!("{url} is not understood");
    };
    let options = crate::host::options(Path::new(&control)).await;
    let link = Link::new(SshTarget::from(&store), options);
    let command = words(&["sh", "-c", "echo ready; cat"]);
    let mut channel = link.channel(&command).await.expect("a channel");
    assert_eq!(channel.reader.read_u8().await.expect("a byte"), b'r');
    let ready = std::env::var(READY).expect("a named pipe");
    std::fs::write(ready, "x").expect("told");
    // Until the tests' process ends, should it not kill this one.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    link.close().await;
}

/// Runs the function above in another process, connected to `host`.
async fn other_process(host: &Host) -> Child {
    let url = format!(
        "ssh://root@127.0.0.1:{}?ssh-key={}&base64-ssh-public-host-key={}",
        host.port(),
        host.path().join("client").display(),
        host.public_key("host").as_base64(),
    );
    let mut ready = Sign::new(host.path().join("ready"));
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "leftovers::in_a_process_of_its_own",
            "--nocapture",
        ])
        .env(CONTROL, host.control_path())
        .env(URL, url)
        .env(READY, ready.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("this program again");
    ready.given().await;
    child
}

#[tokio::test]
async fn a_killed_process_takes_its_connections_along() {
    let Some(host) = Host::start("") else { return };
    let control = host.control_path();
    let mut child = other_process(&host).await;
    assert_eq!(masters(&control).len(), 2);
    child.kill().expect("our child");
    child.wait().expect("its end");
    gone("ssh", || masters(&control)).await;
}

#[tokio::test]
async fn what_was_left_nevertheless_is_ended_at_the_next_start() {
    let Some(host) = Host::start("") else { return };
    let control = host.control_path();
    let mut child = other_process(&host).await;
    let guard = masters(&control).into_iter().find(|(_, name)| name == "sh");
    kill(guard.expect("a guard").0, Signal::KILL);
    child.kill().expect("our child");
    child.wait().expect("its end");
    let guards = || {
        let guards = masters(&control).into_iter();
        guards.filter(|(_, name)| name != "ssh").collect()
    };
    gone("the guard", guards).await;
    assert_eq!(masters(&control).len(), 1);

    let ours = ControlDir::open(&control).await.expect("a directory");
    gone("ssh", || masters(&control)).await;
    let left: Vec<_> = std::fs::read_dir(&control)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(left, [ours.path()]);
}

#[tokio::test]
async fn the_connections_of_a_living_process_are_left_alone() {
    let Some(host) = Host::start("") else { return };
    let control = host.control_path();
    let mut child = other_process(&host).await;
    let before = masters(&control);
    let link = host.link().await;
    link.connect().await.expect("a connection");
    assert_eq!(masters(&control).len(), 4);
    link.close().await;
    assert_eq!(masters(&control), before);
    child.kill().expect("our child");
    child.wait().expect("its end");
    gone("ssh", || masters(&control)).await;
}

#[tokio::test]
async fn a_control_directory_is_private_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = dir.path().join("run/ssh");
    let ours = ControlDir::open(&control).await.expect("a directory");
    let mode = std::os::unix::fs::PermissionsExt::mode;
    let metadata = |path: &Path| std::fs::metadata(path).expect("a directory").permissions();
    assert_eq!(mode(&metadata(&control)) & 0o777, 0o700);
    assert_eq!(mode(&metadata(ours.path())) & 0o777, 0o700);
    let path = ours.path().to_owned();
    drop(ours);
    assert!(!path.exists());

    let long = dir.path().join("x".repeat(80));
    assert!(ControlDir::open(&long).await.is_err());
    let open = dir.path().join("open");
    std::fs::create_dir(&open).expect("a directory");
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&open, mode).expect("a mode");
    assert!(ControlDir::open(&open).await.is_err());
}
