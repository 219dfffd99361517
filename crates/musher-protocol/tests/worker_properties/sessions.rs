//! A client against a server: whatever is asked, said and answered arrives,
//! however the bytes are cut up, and a failure loses nothing but its request.

use musher_protocol::types::Text;
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, Dialect, Message, Negotiated, RemoteError,
    Request, Response, ServerConfig, ServerEvent, ServerInfo, ServerSession, Trust, Version,
};
use nix_derivation::StoreDir;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::sample::select;

use crate::carried;
use crate::steps::{Outcome, Step, steps};
use crate::strategies::dialect;

/// Something one end learns of; content is one thing however it was cut up.
#[derive(Debug, PartialEq)]
enum Seen {
    Ready(Negotiated),
    Request(Request),
    Body(BodyItem),
    Content(Vec<u8>),
    Message(Message),
    Reply(Response),
    Failed(RemoteError),
    Closed,
}

#[derive(Debug, Default)]
struct Log(Vec<Seen>);

impl Log {
    fn push(&mut self, seen: Seen) {
        self.0.push(seen);
    }

    fn content(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "a chunk is never empty");
        match self.0.last_mut() {
            Some(Seen::Content(content)) => content.extend_from_slice(bytes),
            _ => self.push(Seen::Content(bytes.to_vec())),
        }
    }
}

/// The server's owner: does with each request what the steps say.
struct Owner<'a> {
    session: ServerSession,
    log: Log,
    steps: std::slice::Iter<'a, Step>,
    step: Option<&'a Step>,
    /// Bytes of content and other pieces of the body that came so far.
    pieces: usize,
    /// Whether a faulty body went without a word.
    closed: bool,
}

impl Owner<'_> {
    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event.expect("the client sends what it should") {
                ServerEvent::Ready(negotiated) => self.log.push(Seen::Ready(negotiated)),
                ServerEvent::Request(request) => self.begin(request),
                ServerEvent::Body(item) => self.body(item),
                ServerEvent::Closed => {
                    self.closed = true;
                    self.log.push(Seen::Closed);
                }
            }
        }
        assert!(self.session.wants_input(), "everything was taken");
    }

    fn begin(&mut self, request: Request) {
        let step = self.steps.next().expect("only what was sent arrives");
        let has_body = request.has_body();
        self.log.push(Seen::Request(request));
        self.step = Some(step);
        self.pieces = 0;
        for message in &step.log {
            self.session.message(message).expect("a request is served");
        }
        match &step.outcome {
            Outcome::Fail(..) if !has_body => self.fail(),
            Outcome::Fail(0, _) => self.fail(),
            Outcome::Reply(_) if !has_body => self.reply(),
            Outcome::Fail(..) | Outcome::Reply(_) => {}
        }
    }

    fn body(&mut self, item: BodyItem) {
        let step = self.step.expect("no body comes after the answer");
        self.pieces += 1;
        let ended = item == BodyItem::End;
        match item {
            BodyItem::Chunk(bytes) => self.log.content(&bytes),
            BodyItem::Path(_) | BodyItem::End => self.log.push(Seen::Body(item)),
        }
        match &step.outcome {
            Outcome::Fail(at, _) if *at <= self.pieces || ended => self.fail(),
            Outcome::Reply(_) if ended => self.reply(),
            Outcome::Fail(..) | Outcome::Reply(_) => {}
        }
    }

    fn fail(&mut self) {
        let Some(Step {
            outcome: Outcome::Fail(_, error),
            ..
        }) = self.step.take()
        else {
            panic!("the step does not fail")
        };
        self.session.fail(error).expect("a request is served");
        assert!(!self.session.is_serving());
    }

    fn reply(&mut self) {
        let Some(Step {
            outcome: Outcome::Reply(response),
            nar,
            ..
        }) = self.step.take()
        else {
            panic!("the step has no reply")
        };
        self.session.reply(response).expect("a request is served");
        if *response == Response::Nar {
            for chunk in nar.chunks(50) {
                self.session.nar(chunk).expect("a NAR was promised");
            }
        }
        assert!(!self.session.is_serving());
    }
}

/// The client's owner: asks some before it may and the rest as soon as it may.
struct Asker<'a> {
    session: ClientSession,
    log: Log,
    rest: &'a [Step],
}

impl Asker<'_> {
    fn ask(&mut self, steps: &[Step]) {
        for step in steps {
            let asked = self.session.request(step.request.clone());
            asked.expect("the dialect can say it");
            for item in &step.body {
                self.session.body(item.clone()).expect("it is due");
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            match event.expect("the server sends what it should") {
                ClientEvent::Ready(negotiated) => {
                    self.log.push(Seen::Ready(negotiated));
                    let rest = std::mem::take(&mut self.rest);
                    self.ask(rest);
                }
                ClientEvent::Message(message) => self.log.push(Seen::Message(message)),
                ClientEvent::Nar(bytes) => self.log.content(&bytes),
                ClientEvent::Reply(response) => self.log.push(Seen::Reply(response)),
                ClientEvent::Failed(error) => self.log.push(Seen::Failed(error)),
                ClientEvent::Refused(unsupported) => panic!("{unsupported}"),
            }
        }
        assert!(self.session.wants_input(), "everything was taken");
    }
}

/// Takes the next piece of what is on its way.
fn piece(bytes: &mut Vec<u8>, size: usize) -> Vec<u8> {
    let rest = bytes.split_off(size.min(bytes.len()));
    std::mem::replace(bytes, rest)
}

/// What the client sees of `steps`.
fn client_story(ready: Negotiated, steps: &[Step], dialect: &Dialect) -> Vec<Seen> {
    let mut log = Log(vec![Seen::Ready(ready)]);
    for step in steps {
        for message in &step.log {
            log.push(Seen::Message(message.clone()));
        }
        match &step.outcome {
            Outcome::Fail(_, error) => {
                let error = carried::remote_error(error.clone(), dialect);
                log.push(Seen::Failed(error));
            }
            Outcome::Reply(response) => {
                if *response == Response::Nar {
                    log.content(&step.nar);
                }
                let response = carried::response(response.clone(), &step.request, dialect);
                log.push(Seen::Reply(response));
            }
        }
    }
    log.0
}

/// What the server sees of `steps` that it serves to their end.
fn server_story(ready: Negotiated, steps: &[Step], dialect: &Dialect) -> Vec<Seen> {
    let mut log = Log(vec![Seen::Ready(ready)]);
    for step in steps {
        let mut request = carried::request(step.request.clone(), dialect);
        if let Request::AddMultipleToStore { .. } = request {
            request = step.request.clone();
        }
        log.push(Seen::Request(request));
        for item in &step.body {
            match item {
                BodyItem::Chunk(bytes) => log.content(bytes),
                BodyItem::Path(_) | BodyItem::End => log.push(Seen::Body(item.clone())),
            }
        }
    }
    log.push(Seen::Closed);
    log.0
}

/// Both configurations, and what they lead to.
#[derive(Debug, Clone)]
struct Peers {
    client: ClientConfig,
    server: ServerConfig,
    dialect: Dialect,
    ready: Negotiated,
}

fn peers() -> impl Strategy<Value = Peers> {
    let trust = select(vec![None, Some(Trust::Trusted), Some(Trust::NotTrusted)]);
    (dialect(), dialect(), trust).prop_map(|(of_client, of_server, trust)| {
        let store_dir = StoreDir::new("/some/other/store").unwrap();
        let mut client = ClientConfig::new(store_dir.clone());
        client.max_version = of_client.version;
        client.features = of_client.features;
        let mut server = ServerConfig::new(store_dir, "2.99");
        server.max_version = of_server.version;
        server.features = of_server.features;
        server.trust = trust;
        let mut dialect = Dialect::plain(client.max_version.min(server.max_version));
        dialect.features = carried::features(&client.features, &server.features, &dialect);
        let info = ServerInfo {
            nix_version: Some(Text::from("2.99")),
            trust,
        };
        let info = carried::server_info(&info, &dialect);
        let ready = Negotiated {
            version: dialect.version,
            features: dialect.features.clone(),
            nix_version: info.nix_version,
            trust: info.trust,
        };
        Peers {
            client,
            server,
            dialect,
            ready,
        }
    })
}

fn scenario() -> impl Strategy<Value = (Peers, Vec<Step>, usize, Vec<usize>)> {
    peers().prop_flat_map(|peers| {
        let steps = steps(&peers.dialect);
        let sizes = vec(proptest::prop_oneof![1..20_usize, 1..2000_usize], 1..20);
        (Just(peers), steps, any::<proptest::sample::Index>(), sizes).prop_map(
            |(peers, steps, early, sizes)| {
                let early = early.index(steps.len() + 1);
                (peers, steps, early, sizes)
            },
        )
    })
}

fn play(peers: &Peers, steps: &[Step], early: usize, sizes: &[usize]) -> (Log, Log) {
    let (before, after) = steps.split_at(early);
    let mut asker = Asker {
        session: ClientSession::new(peers.client.clone()),
        log: Log::default(),
        rest: after,
    };
    let mut owner = Owner {
        session: ServerSession::new(peers.server.clone()),
        log: Log::default(),
        steps: steps.iter(),
        step: None,
        pieces: 0,
        closed: false,
    };
    asker.ask(before);
    let mut sizes = sizes.iter().copied().cycle();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    loop {
        up.extend_from_slice(&asker.session.take_output());
        down.extend_from_slice(&owner.session.take_output());
        if up.is_empty() && down.is_empty() {
            break;
        }
        let size = sizes.next().unwrap();
        owner.session.receive(&piece(&mut up, size));
        owner.take_events();
        asker.session.receive(&piece(&mut down, size));
        asker.take_events();
    }
    assert_eq!(asker.session.in_flight(), 0, "all is answered");
    owner.session.end();
    owner.take_events();
    assert!(owner.closed, "the end is seen");
    (asker.log, owner.log)
}

proptest! {
    #[test]
    fn all_arrives((peers, steps, early, sizes) in scenario()) {
        let (client, server) = play(&peers, &steps, early, &sizes);
        let expected = client_story(peers.ready.clone(), &steps, &peers.dialect);
        assert_eq!(client.0, expected);
        let fails = |step: &Step| matches!(step.outcome, Outcome::Fail(..));
        if !steps.iter().any(|step| fails(step) && !step.body.is_empty()) {
            let expected = server_story(peers.ready.clone(), &steps, &peers.dialect);
            assert_eq!(server.0, expected);
        }
    }

    #[test]
    fn all_arrives_byte_by_byte((peers, steps, early, _) in scenario()) {
        let (client, _) = play(&peers, &steps, early, &[1]);
        let expected = client_story(peers.ready.clone(), &steps, &peers.dialect);
        assert_eq!(client.0, expected);
    }
}

#[test]
fn versions_are_the_lower_of_both() {
    for client in Version::all() {
        for server in Version::all() {
            let store_dir = StoreDir::default();
            let mut peer = ServerSession::new(ServerConfig {
                max_version: server,
                ..ServerConfig::new(store_dir.clone(), "2.99")
            });
            let mut session = ClientSession::new(ClientConfig {
                max_version: client,
                ..ClientConfig::new(store_dir)
            });
            let ready = (0..3).find_map(|_| {
                peer.receive(&session.take_output());
                assert!(!matches!(peer.next_event(), Some(Err(_))));
                session.receive(&peer.take_output());
                session.next_event()
            });
            let Some(Ok(ClientEvent::Ready(ready))) = ready else {
                panic!("{ready:?}")
            };
            assert_eq!(ready.version, client.min(server));
        }
    }
}
