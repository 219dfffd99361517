//! What the targets `serve_server` and `serve_client` do with their input, and
//! what the tests do with the committed corpora.
//!
//! ```text
//! serve_server  shape, the client's bytes after its greeting
//! serve_client  shape, u8 count, u8 command*, the server's bytes after its greeting
//! shape         u8: 2 bits version (2.5 to 2.8), 6 bits size of the pieces
//! ```
//!
//! Nothing may panic, chunks are small, and what was decoded is encoded and
//! decoded again to the same value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use musher_protocol::serve::{
    BodyItem, BuildOptions, ClientEvent, ClientSession, Command, Config, Request, Response,
    ServerEvent, ServerSession, Version,
};
use musher_protocol::types::{BasicDerivation, BuildResult, BuildStatus};
use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use nix_derivation::{StoreDir, StorePath};

const CLIENT_MAGIC: u64 = 0x390c_9deb;
const SERVER_MAGIC: u64 = 0x5452_eecb;

/// The longest chunk that a session hands out.
const CHUNK: usize = 64 << 10;

/// The version spoken, and how the peer's bytes are cut up.
struct Shape {
    version: Version,
    piece: usize,
}

impl Shape {
    fn take(input: &[u8]) -> Option<(Self, &[u8])> {
        let (shape, rest) = input.split_first()?;
        let shape = Self {
            version: Version::new(5 + (shape & 3)),
            piece: match usize::from(shape >> 2) {
                63 => usize::MAX,
                size => size + 1,
            },
        };
        Some((shape, rest))
    }

    fn greeting(&self, magic: u64) -> Vec<u8> {
        [magic, self.version.number()]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }
}

/// The client says `input`.
pub fn server(input: &[u8]) {
    let Some((shape, input)) = Shape::take(input) else {
        return;
    };
    let mut session = ServerSession::new(Config::new(StoreDir::default()));
    session.receive(&shape.greeting(CLIENT_MAGIC));
    for piece in input.chunks(shape.piece) {
        session.receive(piece);
        serve(&mut session, shape.version);
    }
    session.end();
    serve(&mut session, shape.version);
}

/// Takes what there is to take, and answers what is to be answered.
fn serve(session: &mut ServerSession, version: Version) {
    let mut last = None;
    while let Some(event) = session.next_event() {
        let Ok(event) = event else {
            assert_eq!(session.next_event(), None, "an error is the end");
            return;
        };
        match event {
            ServerEvent::Ready(negotiated) => assert_eq!(negotiated.version, version),
            ServerEvent::Request(request) => {
                last = Some(request.command());
                check_again(
                    &request,
                    |e| request.encode(e, version),
                    async |d| Request::decode(d, version).await,
                );
            }
            ServerEvent::Body(item) => check_body(&item),
            ServerEvent::Closed => return,
        }
        if session.is_serving() {
            answer(session, last.unwrap_or(Command::AddToStoreNar));
        }
    }
    assert!(session.wants_input());
}

fn check_body(item: &BodyItem) {
    if let BodyItem::Chunk(bytes) = item {
        assert!(!bytes.is_empty() && bytes.len() <= CHUNK);
    }
}

/// Answers `command`; a body that came in several goes may hide which of two
/// it is.
fn answer(session: &mut ServerSession, command: Command) {
    let response = match command {
        Command::QueryValidPaths => Response::ValidPaths(BTreeSet::new()),
        Command::QueryPathInfos => Response::PathInfos(Vec::new()),
        Command::DumpStorePath => Response::Nar,
        Command::ImportPaths => Response::Imported(true),
        Command::BuildPaths => Response::PathsBuilt(Ok(())),
        Command::QueryClosure => Response::Closure(BTreeSet::new()),
        Command::BuildDerivation => Response::Built(BuildResult::new(BuildStatus::Built, "")),
        Command::AddToStoreNar => Response::Added(true),
    };
    if session.reply(&response).is_err() {
        let other = session.reply(&Response::Imported(true));
        other.expect("what has a body is one of two");
    }
    if response == Response::Nar {
        session.nar(&empty_file()).expect("a NAR was promised");
    }
    assert!(!session.is_serving());
    assert!(!session.take_output().is_empty());
}

/// The server says `input`.
pub fn client(input: &[u8]) {
    let Some((shape, input)) = Shape::take(input) else {
        return;
    };
    let Some((count, input)) = input.split_first() else {
        return;
    };
    let Some((commands, input)) = input.split_at_checked(usize::from(*count)) else {
        return;
    };
    let mut session = ClientSession::new(Config::new(StoreDir::default()));
    session.receive(&shape.greeting(SERVER_MAGIC));
    assert!(matches!(
        session.next_event(),
        Some(Ok(ClientEvent::Ready(_)))
    ));
    let mut asked = Vec::new();
    for number in commands {
        let command = Command::ALL[usize::from(*number) % Command::ALL.len()];
        session.request(&request(command)).expect("it is ready");
        if command == Command::ImportPaths || command == Command::AddToStoreNar {
            session.body(&BodyItem::End).expect("there may be no data");
        }
        asked.push(command);
    }
    let mut asked = asked.into_iter();
    for piece in input.chunks(shape.piece) {
        session.receive(piece);
        listen(&mut session, shape.version, &mut asked);
    }
    session.end();
    listen(&mut session, shape.version, &mut asked);
}

/// Takes what there is to take.
fn listen(
    session: &mut ClientSession,
    version: Version,
    asked: &mut impl Iterator<Item = Command>,
) {
    while let Some(event) = session.next_event() {
        let Ok(event) = event else {
            assert_eq!(session.next_event(), None, "an error is the end");
            return;
        };
        match event {
            ClientEvent::Ready(_) => panic!("it was ready before"),
            ClientEvent::Nar(bytes) => assert!(!bytes.is_empty() && bytes.len() <= CHUNK),
            ClientEvent::Reply(response) => {
                let command = asked.next().expect("only what was asked is answered");
                check_again(
                    &response,
                    |e| response.encode(e, version),
                    async |d| Response::decode(d, version, command).await,
                );
            }
            ClientEvent::Closed => {
                assert_eq!(session.unanswered(), 0);
                return;
            }
        }
    }
    assert!(session.wants_input());
}

fn request(command: Command) -> Request {
    let path = || StorePath::from_parts([0; 20], "x").expect("this is a name");
    let paths = || BTreeSet::from([path()]);
    let options = BuildOptions::default();
    match command {
        Command::QueryValidPaths => Request::QueryValidPaths {
            lock: true,
            substitute: false,
            paths: paths(),
        },
        Command::QueryPathInfos => Request::QueryPathInfos { paths: paths() },
        Command::DumpStorePath => Request::DumpStorePath { path: path() },
        Command::ImportPaths => Request::ImportPaths,
        Command::BuildPaths => Request::BuildPaths {
            paths: Vec::new(),
            options,
        },
        Command::QueryClosure => Request::QueryClosure {
            include_outputs: true,
            paths: paths(),
        },
        Command::BuildDerivation => Request::BuildDerivation {
            drv_path: path(),
            derivation: BasicDerivation {
                outputs: BTreeMap::new(),
                input_sources: paths(),
                system: String::new(),
                builder: String::new(),
                args: Vec::new(),
                env: BTreeMap::new(),
            },
            options,
        },
        Command::AddToStoreNar => Request::AddToStoreNar {
            info: musher_protocol::types::PathInfo {
                path: path(),
                deriver: None,
                nar_hash: musher_protocol::types::NarHash([0; 32]),
                nar_size: 0,
                references: BTreeSet::new(),
                registration_time: 0,
                ultimate: false,
                signatures: BTreeSet::new(),
                ca: None,
            },
        },
    }
}

/// The NAR of an empty file.
fn empty_file() -> Vec<u8> {
    let mut e = Encoder::new(StoreDir::default());
    for word in ["nix-archive-1", "(", "type", "regular", "contents", "", ")"] {
        e.string(word);
    }
    e.take().to_vec()
}

fn check_again<T: PartialEq + Debug>(
    value: &T,
    encoder: impl FnOnce(&mut Encoder),
    decoder: impl AsyncFnOnce(&mut Decoder) -> Result<T, DecodeError>,
) {
    let mut e = Encoder::new(StoreDir::default());
    encoder(&mut e);
    let again = decode(&e.take(), &StoreDir::default(), decoder);
    assert_eq!(again.as_ref(), Ok(value));
}
