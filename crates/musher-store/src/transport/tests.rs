//! Sockets and children, as they are.

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{Exit, Transport, TransportError};

const BOUND: Duration = Duration::from_secs(20);

fn sh(script: &str) -> Transport {
    let command = ["sh", "-c", script].map(str::to_owned);
    Transport::command(&command).expect("sh starts")
}

async fn line(transport: &mut Transport) -> String {
    let mut line = Vec::new();
    loop {
        match transport.reader.read_u8().await.expect("a byte") {
            b'\n' => return String::from_utf8(line).expect("text"),
            byte => line.push(byte),
        }
    }
}

/// Waits for the end of a process that need not be a child of ours, for at most
/// [`BOUND`].
async fn ended(process: &str) {
    let process = process.parse().ok().and_then(Pid::from_raw);
    let process = process.expect("a process id");
    // Without one it has ended, and somebody has asked how.
    let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else {
        return;
    };
    let ended = tokio::task::spawn_blocking(move || {
        let bound = Timespec::try_from(BOUND).expect("a short time");
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&bound))
    });
    assert_eq!(ended.await.expect("a task"), Ok(1), "it still runs");
}

#[tokio::test]
async fn a_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut transport = Transport::unix(&path).await.expect("a connection");
    let (mut other, _) = listener.accept().await.expect("a connection");
    transport.writer.write_all(b"ping").await.expect("bytes");
    drop(transport.writer);
    let mut heard = String::new();
    other.read_to_string(&mut heard).await.expect("bytes");
    assert_eq!(heard, "ping");
    other.write_all(b"pong\n").await.expect("bytes");
    let mut answer = [0; 5];
    transport
        .reader
        .read_exact(&mut answer)
        .await
        .expect("bytes");
    assert_eq!(&answer, b"pong\n");
    // Of whoever is behind a socket nothing is known, and that at once.
    let end = transport.peer.ended(BOUND).await;
    assert_eq!((end.exit, end.said), (None, Vec::new()));
}

#[tokio::test]
async fn a_socket_where_nobody_listens() {
    let error = Transport::unix(Path::new("/no/such/socket")).await.err();
    let error = error.expect("no connection");
    assert_eq!(
        error.to_string(),
        "cannot connect to socket `/no/such/socket`"
    );
    assert!(
        error
            .help()
            .is_some_and(|help| help.contains("start the daemon"))
    );
}

#[tokio::test]
async fn a_child_and_its_end() {
    let mut child = sh("read word; echo \"$word back\"; echo why >&2; exit 3");
    child.writer.write_all(b"hello\n").await.expect("bytes");
    assert_eq!(line(&mut child).await, "hello back");
    let end = child.peer.ended(BOUND).await;
    assert_eq!(end.exit, Some(Exit::Status(3)));
    assert_eq!(end.said, ["why"]);
}

#[tokio::test]
async fn a_child_that_a_signal_ended() {
    let child = sh("kill -9 $$");
    let end = child.peer.ended(BOUND).await;
    assert_eq!(end.exit, Some(Exit::Signal(9)));
    assert_eq!(
        end.to_string(),
        "`sh -c 'kill -9 $$'` was ended by signal 9"
    );
}

#[tokio::test]
async fn a_child_that_still_runs() {
    let child = sh("echo so far >&2; cat");
    let end = child.peer.ended(Duration::from_millis(300)).await;
    assert_eq!(end.exit, None);
    assert!(
        end.to_string()
            .ends_with("closed the connection, its last words: `so far`")
    );
}

#[tokio::test]
async fn programs_that_cannot_be_started() {
    let missing = Transport::command(&["/no/such/program".to_owned()]).err();
    let help = missing.and_then(|error| error.help());
    assert!(help.is_some_and(|help| help.contains("install `/no/such/program`")));
    let none = Transport::command(&[]).err();
    assert!(matches!(none, Some(TransportError::NoProgram)));
}

#[tokio::test]
async fn a_dropped_child_is_ended_with_all_it_started() {
    // Neither looks at its input.
    let mut child = sh("exec 0</dev/null; sleep 1000 & echo $!; echo $$; wait");
    let (inner, outer) = (line(&mut child).await, line(&mut child).await);
    drop(child);
    for process in [inner, outer] {
        ended(&process).await;
    }
}

#[tokio::test]
async fn room_in_the_queue_before_a_socket_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    // Room for one.
    rustix::net::listen(&listener, 0).expect("a shorter queue");
    let _first = Transport::unix(&path).await.expect("there is room");
    let mut second = Box::pin(Transport::unix(&path));
    assert!(second.as_mut().now_or_never().is_none(), "there is none");
    let _accepted = listener.accept().expect("the first");
    second.await.expect("there is room again");
}
