//! A client against a server: whatever is asked and answered arrives, however
//! the bytes are cut up.

use std::iter;

use musher_protocol::serve::{
    BodyItem, ClientEvent, ClientSession, Config, Negotiated, Request, Response, ServerEvent,
    ServerSession, Version,
};
use nix_derivation::StoreDir;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};

use crate::exchanges::{Exchange, exchange, version};
use crate::messages::{request_at, response_at};

/// Something one end learns of; a NAR is one thing however it was cut up.
#[derive(Debug, PartialEq)]
enum Seen {
    Ready(Version),
    Request(Request),
    Body(BodyItem),
    Nar(Vec<u8>),
    Reply(Response),
    Closed,
}

/// What one end has seen so far.
#[derive(Debug, Default)]
struct Log(Vec<Seen>);

impl Log {
    fn nar(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "a chunk is never empty");
        match self.0.last_mut() {
            Some(Seen::Nar(nar)) => nar.extend_from_slice(bytes),
            _ => self.0.push(Seen::Nar(bytes.to_vec())),
        }
    }

    fn body(&mut self, item: BodyItem) {
        match item {
            BodyItem::Chunk(bytes) => self.nar(&bytes),
            BodyItem::Path(_) | BodyItem::End => self.0.push(Seen::Body(item)),
        }
    }
}

/// The next piece of what is on its way; empty if there is nothing.
fn piece(bytes: &mut Vec<u8>, size: Option<usize>) -> Vec<u8> {
    let size = size.expect("sizes never end");
    let rest = bytes.split_off(size.min(bytes.len()));
    std::mem::replace(bytes, rest)
}

/// The server's owner: answers each request as the exchanges say.
struct Owner<'a> {
    session: ServerSession,
    log: Log,
    todo: std::slice::Iter<'a, Exchange>,
}

impl Owner<'_> {
    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event.expect("the client sends what it should") {
                ServerEvent::Ready(Negotiated { version }) => {
                    self.log.0.push(Seen::Ready(version));
                }
                ServerEvent::Request(request) => {
                    let has_body = matches!(
                        request,
                        Request::ImportPaths | Request::AddToStoreNar { .. }
                    );
                    self.log.0.push(Seen::Request(request));
                    if !has_body {
                        self.answer();
                    }
                }
                ServerEvent::Body(item) => {
                    let ended = item == BodyItem::End;
                    self.log.body(item);
                    if ended {
                        self.answer();
                    }
                }
                ServerEvent::Closed => self.log.0.push(Seen::Closed),
            }
        }
        assert!(self.session.wants_input(), "all is answered");
    }

    fn answer(&mut self) {
        let exchange = self.todo.next().expect("only what was sent arrives");
        assert!(self.session.is_serving());
        let reply = self.session.reply(&exchange.response);
        reply.expect("this is what is asked for");
        for chunk in exchange.nar.chunks(50) {
            self.session.nar(chunk).expect("a NAR was promised");
        }
        assert!(!self.session.is_serving());
    }
}

/// The client's owner: sends everything as soon as it may.
struct Asker<'a> {
    session: ClientSession,
    log: Log,
    exchanges: &'a [Exchange],
}

impl Asker<'_> {
    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event.expect("the server sends what it should") {
                ClientEvent::Ready(Negotiated { version }) => {
                    self.log.0.push(Seen::Ready(version));
                    self.ask();
                }
                ClientEvent::Nar(bytes) => self.log.nar(&bytes),
                ClientEvent::Reply(response) => self.log.0.push(Seen::Reply(response)),
                ClientEvent::Closed => self.log.0.push(Seen::Closed),
            }
        }
        assert!(self.session.wants_input(), "everything was taken");
    }

    fn ask(&mut self) {
        for exchange in self.exchanges {
            self.session
                .request(&exchange.request)
                .expect("it is ready");
            for item in &exchange.body {
                self.session.body(item).expect("it is due");
            }
        }
    }
}

fn config(version: Version) -> Config {
    Config {
        max_version: version,
        ..Config::new(StoreDir::default())
    }
}

/// Runs both ends until the client has every answer and hangs up, and compares
/// what each saw with what there was to see.
fn converse(
    exchanges: &[Exchange],
    [client_version, server_version]: [Version; 2],
    mut sizes: impl Iterator<Item = usize>,
) {
    let mut asker = Asker {
        session: ClientSession::new(config(client_version)),
        log: Log::default(),
        exchanges,
    };
    let mut owner = Owner {
        session: ServerSession::new(config(server_version)),
        log: Log::default(),
        todo: exchanges.iter(),
    };
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let output = asker.session.take_output();
        to_server.extend_from_slice(&output);
        let asked = piece(&mut to_server, sizes.next());
        owner.session.receive(&asked);
        owner.take_events();
        to_client.extend(owner.session.take_output());
        let answered = piece(&mut to_client, sizes.next());
        asker.session.receive(&answered);
        asker.take_events();
        if output.is_empty() && asked.is_empty() && answered.is_empty() {
            break;
        }
    }
    assert_eq!(asker.session.unanswered(), 0);
    owner.session.end();
    owner.take_events();
    asker.session.end();
    asker.take_events();

    let version = client_version.min(server_version);
    assert_eq!(owner.log.0, seen_by_server(exchanges, version));
    assert_eq!(asker.log.0, seen_by_client(exchanges, version));
}

fn seen_by_server(exchanges: &[Exchange], version: Version) -> Vec<Seen> {
    let mut log = Log(vec![Seen::Ready(version)]);
    for exchange in exchanges {
        let request = request_at(version, &exchange.request);
        log.0.push(Seen::Request(request));
        for item in &exchange.body {
            log.body(item.clone());
        }
    }
    log.0.push(Seen::Closed);
    log.0
}

fn seen_by_client(exchanges: &[Exchange], version: Version) -> Vec<Seen> {
    let mut log = Log(vec![Seen::Ready(version)]);
    for exchange in exchanges {
        if !exchange.nar.is_empty() {
            log.nar(&exchange.nar);
        }
        let response = response_at(version, &exchange.response);
        log.0.push(Seen::Reply(response));
    }
    log.0.push(Seen::Closed);
    log.0
}

proptest! {
    #[test]
    fn everything_arrives_in_pieces(
        exchanges in vec(exchange(), 0..8),
        versions in [version(), version()],
        sizes in vec(1..400usize, 1..20),
    ) {
        converse(&exchanges, versions, sizes.into_iter().cycle());
    }

    #[test]
    fn everything_arrives_byte_by_byte(
        exchanges in vec(exchange(), 0..4),
        versions in [version(), version()],
    ) {
        converse(&exchanges, versions, iter::repeat(1));
    }

    #[test]
    fn everything_arrives_at_once(
        exchanges in vec(exchange(), 0..8),
        versions in [version(), version()],
    ) {
        converse(&exchanges, versions, iter::repeat(usize::MAX));
    }

    #[test]
    fn nonsense_is_an_error_or_nothing(bytes in vec(any::<u8>(), 0..300)) {
        let mut server = ServerSession::new(config(Version::MAX));
        let mut client = ClientSession::new(config(Version::MAX));
        server.receive(&bytes);
        client.receive(&bytes);
        server.end();
        client.end();
        while let Some(Ok(_)) = server.next_event() {}
        while let Some(Ok(_)) = client.next_event() {}
    }
}
