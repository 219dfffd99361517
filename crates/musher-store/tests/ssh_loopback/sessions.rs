//! Commands on the other host: their bytes, their messages, their end.

use std::path::Path;
use std::time::Duration;

use musher_store::ssh::{Master, SshError};
use musher_store::transport::Exit;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::host::{BOUND, Host, ended, gone, kill, masters, words};

#[tokio::test]
async fn a_command_is_quoted_for_the_shell_and_its_end_is_known() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let script = "printf '%s|' \"$@\"; echo oops >&2; exit 7";
    let command = words(&["sh", "-c", script, "sh", "a b", "$HOME", "it's", ""]);
    let mut channel = link.channel(&command).await.expect("a channel");
    let mut output = String::new();
    channel
        .reader
        .read_to_string(&mut output)
        .await
        .expect("output");
    assert_eq!(output, "a b|$HOME|it's||");
    let end = channel.peer.ended(BOUND).await;
    assert_eq!(end.exit, Some(Exit::Status(7)));
    assert_eq!(end.said, ["oops"]);
    link.close().await;
}

#[tokio::test]
async fn a_missing_program_is_told_from_a_failing_one() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let command = words(&["no-such-nix-daemon", "--stdio"]);
    let mut channel = link.channel(&command).await.expect("a channel");
    let mut output = Vec::new();
    channel
        .reader
        .read_to_end(&mut output)
        .await
        .expect("an end");
    assert!(output.is_empty());
    let end = channel.peer.ended(BOUND).await;
    assert!(end.program_missing(), "{end}");
    assert!(end.to_string().contains("not found"), "{end}");
    assert!(
        end.help()
            .is_some_and(|help| help.contains("`no-such-nix-daemon`"))
    );
    link.close().await;
}

#[tokio::test]
async fn bulk_goes_both_ways_at_once() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let channel = link.channel(&words(&["cat"])).await.expect("a channel");
    let (mut reader, mut writer) = (channel.reader, channel.writer);
    const SIZE: usize = 16 << 20;
    let sent: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move { writer.write_all(&sent).await });
    let mut received = Vec::new();
    let received_all = reader.read_to_end(&mut received);
    tokio::time::timeout(BOUND, received_all)
        .await
        .expect("in time")
        .expect("bytes");
    sending.await.expect("a task").expect("bytes");
    assert!(received == expected);
    link.close().await;
}

#[tokio::test]
async fn messages_nobody_reads_do_not_stop_the_program() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let script = "head -c 4000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; echo done";
    let command = words(&["sh", "-c", script]);
    let mut channel = link.channel(&command).await.expect("a channel");
    let mut output = String::new();
    let reading = channel.reader.read_to_string(&mut output);
    tokio::time::timeout(BOUND, reading)
        .await
        .expect("in time")
        .expect("output");
    assert_eq!(output, "done\n");
    let end = channel.peer.ended(BOUND).await;
    assert_eq!(end.said.last().map(String::as_str), Some("last"));
    link.close().await;
}

#[tokio::test]
async fn messages_can_be_followed_line_by_line() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let script = "read go; seq 1 2000 >&2; printf rest >&2";
    let command = words(&["sh", "-c", script]);
    let mut channel = link.channel(&command).await.expect("a channel");
    let mut lines = channel.peer.stderr().expect("a stderr").lines();
    channel.writer.write_all(b"go\n").await.expect("bytes");
    let mut heard = Vec::new();
    while let Some(line) = tokio::time::timeout(BOUND, lines.recv())
        .await
        .expect("in time")
    {
        heard.push(String::from_utf8(line.to_vec()).expect("text"));
    }
    let mut expected: Vec<String> = (1..=2000).map(|line| line.to_string()).collect();
    expected.push("rest".into());
    assert_eq!(heard, expected);
    link.close().await;
}

#[tokio::test]
async fn dropping_a_channel_ends_the_program() {
    let Some(host) = Host::start("") else { return };
    let link = host.link().await;
    let script = "echo $$; exec cat";
    let mut channel = link
        .channel(&words(&["sh", "-c", script]))
        .await
        .expect("a channel");
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        pid.push(char::from(channel.reader.read_u8().await.expect("a byte")));
    }
    let process: i32 = pid.trim().parse().expect("a process id");
    assert!(Path::new("/proc").join(pid.trim()).exists());
    // Only the peer goes: whoever still holds a half does not keep it alive.
    drop(channel.peer);
    ended(process).await;
    link.close().await;
}

#[tokio::test]
async fn a_channel_keeps_its_connection() {
    let Some(host) = Host::start("") else { return };
    let master = Master::open(&host.target(), &host.options().await)
        .await
        .expect("a connection");
    let mut channel = master.channel(&words(&["cat"])).await.expect("a channel");
    assert_eq!(master.sessions(), 1);
    drop(master);
    channel.writer.write_all(b"x").await.expect("a byte");
    let byte = tokio::time::timeout(BOUND, channel.reader.read_u8());
    assert_eq!(byte.await.expect("in time").expect("a byte"), b'x');
    drop(channel);
    let control = host.control_path();
    gone("ssh", || masters(&control)).await;
}

#[tokio::test]
async fn a_stopped_host_is_noticed_within_the_keepalive() {
    let Some(host) = Host::start("") else { return };
    let mut options = host.options().await;
    options.keepalive_interval = Duration::from_secs(1);
    let master = Master::open(&host.target(), &options)
        .await
        .expect("a connection");
    let script = "echo $PPID; read go; kill -STOP $PPID; cat";
    let mut channel = master
        .channel(&words(&["sh", "-c", script]))
        .await
        .expect("a channel");
    let mut sshd = String::new();
    let mut lines = BufReader::new(&mut channel.reader);
    lines.read_line(&mut sshd).await.expect("a process id");
    channel.writer.write_all(b"go\n").await.expect("bytes");
    let lost = tokio::time::timeout(Duration::from_secs(10), master.ended()).await;
    // The stopped one would never notice.
    kill(sshd.trim().parse().expect("a process id"), Signal::CONT);
    assert!(matches!(lost, Ok(SshError::Lost { .. })));
    assert!(!master.is_open());
}
