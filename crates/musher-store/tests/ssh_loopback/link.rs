//! A host with more sessions than one connection takes, and with connections
//! that die.

use musher_store::ssh::{Link, SshError};
use musher_store::transport::{Exit, Transport};
use musher_store::url::Host as HostName;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::{BOUND, Host, Sign, describe, kill, masters, words};

async fn echo(channel: &mut Transport, byte: u8) {
    channel.writer.write_all(&[byte]).await.expect("a byte");
    let read = tokio::time::timeout(BOUND, channel.reader.read_u8());
    assert_eq!(read.await.expect("in time").expect("a byte"), byte);
}

#[tokio::test]
async fn further_connections_are_opened_for_further_sessions() {
    let Some(host) = Host::start("MaxSessions 10") else {
        return;
    };
    let link = host.link().await;
    link.connect().await.expect("a connection");
    assert_eq!(link.connections(), 1);
    let opening = (0..25).map(|_| {
        let link = link.clone();
        tokio::spawn(async move { link.channel(&words(&["cat"])).await })
    });
    let mut channels = Vec::new();
    for opened in opening.collect::<Vec<_>>() {
        channels.push(opened.await.expect("a task").expect("a channel"));
    }
    for (number, channel) in (0..).zip(&mut channels) {
        echo(channel, number).await;
    }
    assert_eq!(link.connections(), 3);
    // Room that has become free is used before anything is opened.
    channels.truncate(5);
    for number in 0..10 {
        let mut channel = link.channel(&words(&["cat"])).await.expect("a channel");
        echo(&mut channel, number).await;
    }
    assert_eq!(link.connections(), 3);
    link.close().await;
}

#[tokio::test]
async fn one_session_a_connection_is_enough() {
    let Some(host) = Host::start("MaxSessions 1") else {
        return;
    };
    let link = host.link().await;
    for number in 0..5 {
        let mut channel = link.channel(&words(&["cat"])).await.expect("a channel");
        echo(&mut channel, number).await;
    }
    let mut first = link.channel(&words(&["cat"])).await.expect("a channel");
    let mut second = link.channel(&words(&["cat"])).await.expect("a channel");
    echo(&mut first, 1).await;
    echo(&mut second, 2).await;
    link.close().await;
}

#[tokio::test]
async fn a_host_that_takes_no_session_at_all() {
    let Some(host) = Host::start("MaxSessions 0") else {
        return;
    };
    let link = host.link().await;
    let command = words(&["cat"]);
    let opening = link.channel(&command);
    let refused = tokio::time::timeout(BOUND, opening).await.expect("in time");
    let error = refused.err().expect("no session");
    assert!(
        matches!(error, SshError::TooManySessions { .. }),
        "{}",
        describe(&error)
    );
    link.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_closed_link() {
    let Some(host) = Host::start("MaxSessions 2") else {
        return;
    };
    let link = host.link().await;
    let mut channels = Vec::new();
    for _ in 0..5 {
        channels.push(link.channel(&words(&["cat"])).await.expect("a channel"));
    }
    let control = host.control_path();
    // Of each of three, ssh and its guard.
    assert_eq!(masters(&control).len(), 6);
    link.close().await;
    assert_eq!(masters(&control), []);
    let left: Vec<_> = walk(&control).collect();
    assert!(left.iter().all(|path| path.is_dir()), "{left:?}");
    for channel in &mut channels {
        assert!(channel.reader.read_u8().await.is_err());
        assert_eq!(channel.peer.ended(BOUND).await.exit, Some(Exit::Lost));
    }
    let error = link.channel(&words(&["cat"])).await.err().expect("closed");
    assert!(
        matches!(error, SshError::Closed { .. }),
        "{}",
        describe(&error)
    );
    assert!(matches!(link.lost().await, SshError::Closed { .. }));
}

fn walk(dir: &std::path::Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries = |dir| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let paths: Vec<_> = entries(dir.to_owned()).map(|entry| entry.path()).collect();
    paths.into_iter().flat_map(move |path| {
        let below: Vec<_> = entries(path.clone()).map(|entry| entry.path()).collect();
        std::iter::once(path).chain(below)
    })
}

#[tokio::test]
async fn closing_does_not_wait_for_a_connection_that_hangs() {
    let Some(host) = Host::start("") else { return };
    let mut options = host.options().await;
    options.connect_timeout = BOUND * 2;
    let mut reached = Sign::new(host.path().join("reached"));
    let pipe = reached.path().display();
    let proxy = format!("-oProxyCommand=sh -c 'echo > {pipe}; exec sleep 1000'");
    options.extra.push(proxy);
    let link = Link::new(host.target(), options);
    let connecting = tokio::spawn({
        let link = link.clone();
        async move { link.connect().await }
    });
    let control = host.control_path();
    reached.given().await;
    tokio::time::timeout(BOUND, link.close())
        .await
        .expect("in time");
    let error = connecting.await.expect("a task").expect_err("closed");
    assert!(
        matches!(error, SshError::Closed { .. }),
        "{}",
        describe(&error)
    );
    assert_eq!(masters(&control), []);
}

#[tokio::test]
async fn a_killed_connection_is_noticed_and_opened_again() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let mut channel = link.channel(&words(&["cat"])).await.expect("a channel");
    let control = host.control_path();
    let ssh = masters(&control)
        .into_iter()
        .find(|(_, name)| name == "ssh");
    kill(ssh.expect("a master").0, Signal::KILL);
    let lost = tokio::time::timeout(BOUND, link.lost()).await;
    assert!(matches!(lost, Ok(SshError::Lost { .. })));
    assert!(channel.reader.read_u8().await.is_err());
    assert_eq!(link.connections(), 0);
    let mut channel = link.channel(&words(&["cat"])).await.expect("a channel");
    echo(&mut channel, 7).await;
    link.close().await;
    assert_eq!(masters(&control), []);
}

#[tokio::test]
async fn an_error_to_connect_does_not_spoil_the_link() {
    let Some(host) = Host::start("") else { return };
    let authorized = host.path().join("authorized_keys");
    let aside = host.path().join("aside");
    std::fs::rename(&authorized, &aside).expect("a file");
    let link = host.link().await;
    let error = link.connect().await.expect_err("no key is authorized");
    assert!(
        matches!(error, SshError::Connect { .. }),
        "{}",
        describe(&error)
    );
    std::fs::rename(&aside, &authorized).expect("a file");
    link.connect().await.expect("a connection");
    link.close().await;
}

#[tokio::test]
async fn localhost_needs_no_ssh() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut target = crate::host::target(1);
    target.authority.host = HostName::new("localhost").expect("a name");
    let link = Link::new(target, crate::host::options(dir.path()).await);
    link.connect().await.expect("nothing to do");
    let script = "echo aside >&2; exec cat";
    let command = words(&["sh", "-c", script]);
    let mut channel = link.channel(&command).await.expect("a child");
    echo(&mut channel, 9).await;
    drop(channel.writer);
    let end = channel.peer.ended(BOUND).await;
    assert_eq!(end.exit, Some(Exit::Status(0)));
    assert_eq!(end.said, ["aside"]);
    let missing = link.channel(&words(&["/no/such/program"])).await.err();
    assert!(matches!(missing, Some(SshError::Localhost { .. })));
}
