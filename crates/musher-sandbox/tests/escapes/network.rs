//! The machine's network, and what on it is reached without an address.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use expect_test::expect;
use musher_sandbox::Network;

use crate::check_on;
use crate::stage::{self, Stage};

/// Listens where a build might want to go, for as long as it lives.
struct Listeners {
    tcp: TcpListener,
    _abstract: UnixListener,
    name: String,
}

fn listen() -> Listeners {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = format!(
        "musher-sandbox-{}",
        tcp.local_addr().expect("an address").port()
    );
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _abstract = UnixListener::bind_addr(&address).expect("a socket");
    Listeners {
        tcp,
        _abstract,
        name,
    }
}

impl Listeners {
    fn deeds(&self) -> [String; 2] {
        let address = self.tcp.local_addr().expect("an address");
        [
            format!("connect {address}"),
            format!("connect @{}", self.name),
        ]
    }
}

/// What each attempt came to, without the names.
fn attempts(stage: &Stage) -> String {
    let listeners = listen();
    let deeds = listeners.deeds();
    let outcome = stage.run(&[&deeds[0], &deeds[1]]);
    let ended = outcome.ended.expect("a sandbox");
    assert!(ended.status.is_success(), "{}", outcome.said);
    let what = |line: &str| line.rsplit_once(": ").map(|(_, what)| what.to_owned());
    outcome
        .said
        .lines()
        .filter_map(what)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_build_has_no_network_but_its_own_loopback() {
    for who in stage::whos() {
        let stage = Stage::new(who);
        assert_eq!(attempts(&stage), "ECONNREFUSED ECONNREFUSED");
        let deeds = ["connect 192.0.2.1:80", "connect 127.0.0.1:9", "list /sys"];
        check_on(
            &Stage::new(who),
            &deeds,
            &expect![[r#"
            connect 192.0.2.1:80: ENETUNREACH
            connect 127.0.0.1:9: ECONNREFUSED
            list /sys: ENOENT
        "#]],
        );
    }
}

#[test]
fn a_build_with_network_reaches_the_machine_but_no_abstract_socket() {
    for who in stage::whos() {
        let mut stage = Stage::new(who);
        stage.request.network = Network::Host { certificates: None };
        let scoped = musher_sandbox::abstract_sockets_are_kept();
        let abstract_socket = if scoped { "EPERM" } else { "done" };
        assert_eq!(attempts(&stage), format!("done {abstract_socket}"));
        let mut stage = Stage::new(who);
        stage.request.network = Network::Host { certificates: None };
        check_on(
            &stage,
            &["show /etc/nsswitch.conf"],
            &expect![[r#"
            hosts: files dns
            services: files
        "#]],
        );
    }
}
