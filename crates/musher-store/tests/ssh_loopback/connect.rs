//! Every way in which a connection fails has an error of its own, in time.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use musher_store::ssh::{ConnectFault, Master, SshError, SshOptions, SshTarget, Stage};
use rustix::process::Signal;

use crate::host::{self, Host, describe, kill, make_key, target};

/// Fails to connect, and says why.
async fn fault(target: &SshTarget, options: &SshOptions) -> ConnectFault {
    let started = Instant::now();
    let Err(error) = Master::open(target, options).await else {
        panic!("connected");
    };
    let bound = options.connect_timeout + Duration::from_secs(1);
    assert!(started.elapsed() < bound, "late: {}", describe(&error));
    let text = describe(&error);
    let SshError::Connect { source, .. } = error else {
        panic!("{text}");
    };
    source
}

/// A server of one connection that is no sshd.
fn impostor(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || serve(listener.accept().expect("a connection").0));
    port
}

/// For faults that show by themselves.
async fn patient(dir: &Path) -> SshOptions {
    host::options(&dir.join("control")).await
}

/// For faults that show by time alone.
async fn hasty(dir: &Path) -> SshOptions {
    SshOptions {
        connect_timeout: Duration::from_secs(2),
        ..patient(dir).await
    }
}

#[tokio::test]
async fn a_key_that_is_not_authorized() {
    let Some(host) = Host::start("") else { return };
    let target = SshTarget {
        key: Some(host.path().join("other")),
        ..host.target()
    };
    let fault = fault(&target, &host.options().await).await;
    assert!(matches!(fault, ConnectFault::KeyRefused { .. }), "{fault}");
    assert!(fault.said().to_string().contains("Permission denied"));
}

#[tokio::test]
async fn key_files_that_cannot_be_used() {
    let Some(host) = Host::start("") else { return };
    let options = host.options().await;
    let with = |name: &str| SshTarget {
        key: Some(host.path().join(name)),
        ..host.target()
    };

    let missing = fault(&with("absent"), &options).await;
    assert!(matches!(&missing, ConnectFault::KeyMissing { path, .. }
        if *path == host.path().join("absent")));

    let open = host.path().join("client");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).expect("a mode");
    let too_open = fault(&with("client"), &options).await;
    assert!(matches!(&too_open, ConnectFault::KeyTooOpen { path, .. } if *path == open));

    std::fs::write(host.path().join("garbage"), "no key\n").expect("a file");
    let mode = PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(host.path().join("garbage"), mode).expect("a mode");
    let garbage = fault(&with("garbage"), &options).await;
    assert!(
        matches!(&garbage, ConnectFault::KeyUnusable { .. }),
        "{garbage}"
    );

    make_key(&host.path().join("locked"), "a passphrase");
    let locked = fault(&with("locked"), &options).await;
    assert!(
        matches!(
            &locked,
            ConnectFault::KeyUnusable { .. } | ConnectFault::KeyRefused { .. }
        ),
        "{locked}"
    );
}

#[tokio::test]
async fn a_host_key_that_is_not_known() {
    let Some(host) = Host::start("") else { return };
    let target = SshTarget {
        host_key: None,
        ..host.target()
    };
    let mut options = host.options().await;
    options.extra.extend(host::words(&[
        "-oUserKnownHostsFile=/dev/null",
        "-oGlobalKnownHostsFile=/dev/null",
    ]));
    let fault = fault(&target, &options).await;
    assert!(
        matches!(fault, ConnectFault::UnknownHostKey { .. }),
        "{fault}"
    );
}

#[tokio::test]
async fn a_host_key_other_than_the_configured_one() {
    let Some(host) = Host::start("") else { return };
    let target = SshTarget {
        host_key: Some(host.public_key("other")),
        ..host.target()
    };
    let fault = fault(&target, &host.options().await).await;
    assert!(
        matches!(fault, ConnectFault::ChangedHostKey { .. }),
        "{fault}"
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let dir = tempfile::tempdir().expect("a directory");
    let fault = fault(&target(host::free_port()), &patient(dir.path()).await).await;
    assert!(matches!(fault, ConnectFault::Refused { .. }), "{fault}");
}

#[tokio::test]
async fn a_name_that_has_no_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut target = target(22);
    // A label may have 63 characters, so that no name server is asked.
    let name = format!("{}.invalid", "x".repeat(64));
    target.authority.host = musher_store::url::Host::new(&name).expect("a name");
    let fault = fault(&target, &patient(dir.path()).await).await;
    assert!(matches!(fault, ConnectFault::UnknownName { .. }), "{fault}");
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = impostor(|mut stream| {
        // Until the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let fault = fault(&target(port), &hasty(dir.path()).await).await;
    let greeting = Stage::Greeting;
    assert!(
        matches!(&fault, ConnectFault::TimedOut { stage, .. } if *stage == greeting),
        "{fault}"
    );
}

#[tokio::test]
async fn an_sshd_that_is_stopped() {
    let Some(host) = Host::start("") else { return };
    let options = SshOptions {
        connect_timeout: Duration::from_secs(2),
        ..host.options().await
    };
    let sshd = i32::try_from(host.pid()).expect("a process id");
    kill(sshd, Signal::STOP);
    let fault = fault(&host.target(), &options).await;
    kill(sshd, Signal::CONT);
    assert!(matches!(fault, ConnectFault::TimedOut { .. }), "{fault}");
}

#[tokio::test]
async fn a_way_there_that_hangs() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = hasty(dir.path()).await;
    options
        .extra
        .extend(host::words(&["-oProxyCommand=sleep 31415926"]));
    let fault = fault(&target(22), &options).await;
    assert!(matches!(fault, ConnectFault::TimedOut { .. }), "{fault}");
    let control = dir.path().join("control");
    host::gone("ssh", || host::masters(&control)).await;
    host::gone("its proxy", || host::processes("31415926")).await;
}

#[tokio::test]
async fn a_web_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = impostor(|mut stream| {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        // The client may hang up first.
        let _ = stream.write_all(answer);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let fault = fault(&target(port), &patient(dir.path()).await).await;
    assert!(
        matches!(&fault, ConnectFault::NotSsh { banner: Some(banner), .. }
        if banner.starts_with("HTTP/1.1 400")),
        "{fault}"
    );
}

#[tokio::test]
async fn a_mail_server_that_waits() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = impostor(|mut stream| {
        // As above.
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let fault = fault(&target(port), &hasty(dir.path()).await).await;
    assert!(
        matches!(
            &fault,
            ConnectFault::NotSsh {
                banner: Some(_),
                ..
            }
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn a_server_of_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = impostor(|mut stream| {
        // As above.
        let _ = stream.write_all(&[0, 1, 2, 3, 255, 10]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let fault = fault(&target(port), &patient(dir.path()).await).await;
    assert!(matches!(fault, ConnectFault::NotSsh { .. }), "{fault}");
}

#[tokio::test]
async fn a_server_that_hangs_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let fault = fault(&target(impostor(drop)), &patient(dir.path()).await).await;
    assert!(matches!(fault, ConnectFault::HungUp { .. }), "{fault}");
}

#[tokio::test]
async fn options_that_ssh_does_not_know() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = patient(dir.path()).await;
    options.extra.push("-oFrobnicate=yes".into());
    let fault = fault(&target(22), &options).await;
    assert!(matches!(fault, ConnectFault::Options { .. }), "{fault}");
}
