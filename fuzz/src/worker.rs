//! What the targets `worker_server` and `worker_client` do with their input,
//! and what the tests do with the committed corpora.
//!
//! ```text
//! worker_server  shape, the client's bytes after its greeting
//! worker_client  shape, u8 count, u8 request*, the server's bytes after its greeting
//! shape          u8 minor version (1.21 to 1.38), u8 features,
//!                u8 size of the pieces
//! ```
//!
//! Nothing may panic, chunks are small, and what was decoded is encoded and
//! decoded again to the same value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use musher_protocol::types::{
    BasicDerivation, BuildMode, BuildResult, BuildStatus, DrvHashOutput, NarHash, PathInfo, Text,
};
use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use musher_protocol::worker::{
    Asked, BodyItem, ClientConfig, ClientEvent, ClientSession, CommandError, Dialect, Feature,
    GarbageAction, GarbagePaths, GarbageRun, Level, Message, Missing, Op, Options, OutputId,
    RemoteError, Request, Response, ServerConfig, ServerEvent, ServerSession, Trust, Version,
};
use nix_derivation::{DerivedPath, DrvOutput, SingleDerivedPath, StoreDir, StorePath};

const CLIENT_MAGIC: u64 = 0x6e69_7863;
const SERVER_MAGIC: u64 = 0x6478_696f;

/// The longest chunk that a session hands out.
const CHUNK: usize = 64 << 10;

/// The most that a session writes of its own accord between two events.
const CHATTER: usize = 1 << 20;

/// The version spoken, and how the peer's bytes are cut up.
struct Shape {
    dialect: Dialect,
    piece: usize,
}

impl Shape {
    fn take(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[minor, features, piece], rest) = input.split_first_chunk()?;
        let (oldest, newest) = (Version::MIN.minor_number(), Version::MAX.minor_number());
        let mut dialect = Dialect::plain(Version::minor(oldest + minor % (newest - oldest + 1)));
        if dialect.has(38) {
            let offered = Feature::ALL.into_iter().enumerate();
            dialect.features = offered
                .filter(|(bit, feature)| feature.is_offered() && features & (1 << bit) != 0)
                .map(|(_, feature)| feature)
                .collect();
        }
        let piece = match usize::from(piece) {
            255 => usize::MAX,
            size => size + 1,
        };
        Some((Self { dialect, piece }, rest))
    }

    /// The peer's first words, up to where its own part begins.
    fn greeting(&self, magic: u64) -> Encoder {
        let mut greeting = Encoder::new(StoreDir::default());
        greeting.u64(magic);
        greeting.u64(self.dialect.version.to_wire());
        if self.dialect.has(38) {
            let features = self.dialect.features.iter();
            let names: Vec<_> = features.map(|feature| feature.name().to_owned()).collect();
            greeting.strings(&names);
        }
        greeting
    }
}

/// The client says `input`.
pub fn server(input: &[u8]) {
    let Some((shape, input)) = Shape::take(input) else {
        return;
    };
    let mut config = ServerConfig::new(StoreDir::default(), "2.99");
    config.features = Feature::ALL.into();
    config.trust = Some(Trust::NotTrusted);
    let mut session = ServerSession::new(config);
    let mut greeting = shape.greeting(CLIENT_MAGIC);
    greeting.u64(0);
    greeting.u64(0);
    session.receive(&greeting.take());
    let mut serving = None;
    for piece in input.chunks(shape.piece) {
        session.receive(piece);
        serve(&mut session, &shape.dialect, &mut serving);
    }
    session.end();
    serve(&mut session, &shape.dialect, &mut serving);
}

/// Takes what there is to take, and answers what is to be answered.
fn serve(session: &mut ServerSession, dialect: &Dialect, serving: &mut Option<Asked>) {
    while let Some(event) = session.next_event() {
        let Ok(event) = event else {
            assert_eq!(session.next_event(), None, "an error is the end");
            return;
        };
        match event {
            ServerEvent::Ready(negotiated) => assert_eq!(negotiated.dialect(), *dialect),
            ServerEvent::Request(request) => {
                assert_eq!(request.check(dialect), Ok(()));
                check_again(
                    &without_count(&request),
                    |e| request.encode(dialect, e).expect("it came in this dialect"),
                    async |d| Request::decode(dialect, d).await,
                );
                *serving = Some(request.asked());
                if !request.has_body() {
                    answer(session, dialect, serving);
                }
            }
            ServerEvent::Body(BodyItem::Chunk(chunk)) => {
                assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
                // Some uploads fail in the middle.
                if chunk.first() == Some(&b'!') {
                    session
                        .fail(&RemoteError::new("an exclamation mark"))
                        .expect("a body is of a request");
                    *serving = None;
                }
            }
            ServerEvent::Body(BodyItem::Path(_)) => {}
            ServerEvent::Body(BodyItem::End) => answer(session, dialect, serving),
            ServerEvent::Closed => return,
        }
        assert!(session.take_output().len() < CHATTER);
    }
    assert!(session.wants_input());
}

/// The number of paths is not in the request's own bytes.
fn without_count(request: &Request) -> Request {
    let mut request = request.clone();
    if let Request::AddMultipleToStore { count, .. } = &mut request {
        *count = 0;
    }
    request
}

fn answer(session: &mut ServerSession, dialect: &Dialect, serving: &mut Option<Asked>) {
    let asked = serving.take().expect("a request is served");
    let line = Message::Next(Text::from("done\n"));
    session.message(&line).expect("a request is served");
    let response = answers()
        .into_iter()
        .find(|response| response.answers(&asked, dialect))
        .expect("every request has an answer");
    session.reply(&response).expect("a request is served");
    if response == Response::Nar {
        session
            .fail(&RemoteError::new("there is no NAR"))
            .expect("a NAR was promised");
    }
}

/// An answer of every kind.
fn answers() -> [Response; 19] {
    [
        Response::Unit,
        Response::Bool(true),
        Response::Path(path()),
        Response::OptionalPath(None),
        Response::Paths(BTreeSet::from([path()])),
        Response::Names(BTreeSet::new()),
        Response::OutputMap(BTreeMap::new()),
        Response::PathInfo(None),
        Response::Added(path_info()),
        Response::Roots(Vec::new()),
        Response::Garbage {
            paths: BTreeSet::new(),
            bytes_freed: 0,
        },
        Response::SubstitutablePath(None),
        Response::SubstitutablePaths(BTreeMap::new()),
        Response::BuildResult(BuildResult::new(BuildStatus::Built, "")),
        Response::KeyedBuildResults(Vec::new()),
        Response::Missing(Missing::default()),
        Response::Realisation(None),
        Response::Link(Text::default()),
        Response::Nar,
    ]
}

/// The server says `input`.
pub fn client(input: &[u8]) {
    let Some((shape, input)) = Shape::take(input) else {
        return;
    };
    let Some((&count, input)) = input.split_first() else {
        return;
    };
    let count = usize::from(count).min(input.len());
    let (numbers, input) = input.split_at(count);
    let mut config = ClientConfig::new(StoreDir::default());
    config.features = Feature::ALL.into();
    let mut session = ClientSession::new(config);
    let mut asked = Vec::new();
    for number in numbers {
        let op = Op::ALL[usize::from(*number) % Op::ALL.len()];
        asked.push(ask(&mut session, request(op, &shape.dialect)));
    }
    let mut asked = asked.into_iter();
    session.receive(&shape.greeting(SERVER_MAGIC).take());
    for piece in input.chunks(shape.piece) {
        session.receive(piece);
        hear(&mut session, &shape.dialect, &mut asked);
    }
    session.end();
    hear(&mut session, &shape.dialect, &mut asked);
}

/// Makes a request, with half of its body if it has one: the server may answer
/// before the rest.
fn ask(session: &mut ClientSession, request: Request) -> Asked {
    let asked = request.asked();
    let has_body = request.has_body();
    session.request(request).expect("nothing is known yet");
    if has_body {
        let chunk = BodyItem::Chunk(vec![0; 8].into());
        match session.body(chunk) {
            Ok(()) | Err(CommandError::Body { .. } | CommandError::Nar(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    asked
}

fn hear(session: &mut ClientSession, dialect: &Dialect, asked: &mut impl Iterator<Item = Asked>) {
    while let Some(event) = session.next_event() {
        let Ok(event) = event else {
            assert_eq!(session.next_event(), None, "an error is the end");
            return;
        };
        match event {
            ClientEvent::Ready(negotiated) => assert_eq!(negotiated.dialect(), *dialect),
            ClientEvent::Message(_) => {}
            ClientEvent::Nar(chunk) => assert!(!chunk.is_empty() && chunk.len() <= CHUNK),
            ClientEvent::Reply(response) => {
                let asked = asked.next().expect("only requests are answered");
                assert!(response.answers(&asked, dialect));
                check_again(
                    &response,
                    |e| response.encode(&asked, dialect, e),
                    async |d| Response::decode(&asked, dialect, d).await,
                );
            }
            ClientEvent::Failed(error) => {
                asked.next().expect("only requests fail");
                check_again(
                    &error,
                    |e| error.encode(dialect, e),
                    async |d| RemoteError::decode(dialect, d).await,
                );
            }
            ClientEvent::Refused(_) => {
                asked.next().expect("only requests are refused");
            }
        }
        assert!(session.take_output().len() < CHATTER);
    }
    assert!(session.wants_input());
}

/// Decodes what `value` encodes to, and expects `value`.
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

fn path() -> StorePath {
    StorePath::from_parts([0; 20], "x").expect("the name is valid")
}

fn path_info() -> PathInfo {
    PathInfo {
        path: path(),
        deriver: None,
        nar_hash: NarHash([0; 32]),
        nar_size: 16,
        references: BTreeSet::new(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

fn output_id(dialect: &Dialect) -> OutputId {
    if dialect.offers(Feature::RealisationWithPath) {
        OutputId::Path(DrvOutput::new(path(), "out"))
    } else {
        OutputId::Hash(DrvHashOutput {
            drv_hash: format!("sha256:{}", "1".repeat(64)),
            output: "out".to_owned(),
        })
    }
}

/// A request of this kind; the ones that matter most, else the simplest.
fn request(op: Op, dialect: &Dialect) -> Request {
    let mode = BuildMode::Normal;
    let paths = vec![DerivedPath::Opaque(path())];
    match op {
        Op::IsValidPath => Request::IsValidPath(path()),
        Op::QueryReferrers => Request::QueryReferrers(path()),
        Op::AddToStore if dialect.has(25) => Request::AddToStore {
            name: "x".to_owned(),
            method: "fixed:r:sha256".to_owned(),
            references: BTreeSet::new(),
            repair: false,
        },
        Op::AddToStore => Request::AddNarToStore {
            name: "x".to_owned(),
            recursive: true,
            algorithm: "sha256".to_owned(),
        },
        Op::AddTextToStore => Request::AddTextToStore {
            name: "x".to_owned(),
            text: Text::default(),
            references: BTreeSet::new(),
        },
        Op::BuildPaths => Request::BuildPaths { paths, mode },
        Op::EnsurePath => Request::EnsurePath(path()),
        Op::AddTempRoot => Request::AddTempRoot(path()),
        Op::AddIndirectRoot => Request::AddIndirectRoot(Text::default()),
        Op::SyncWithGc => Request::SyncWithGc,
        Op::FindRoots => Request::FindRoots,
        Op::QueryDeriver => Request::QueryDeriver(path()),
        Op::SetOptions => Request::SetOptions(Options {
            verbosity: Level::VOMIT,
            ..Options::default()
        }),
        Op::CollectGarbage => Request::CollectGarbage(garbage_run()),
        Op::QuerySubstitutablePathInfo => Request::QuerySubstitutablePathInfo(path()),
        Op::QueryDerivationOutputs => Request::QueryDerivationOutputs(path()),
        Op::QueryAllValidPaths => Request::QueryAllValidPaths,
        Op::QueryPathInfo => Request::QueryPathInfo(path()),
        Op::QueryDerivationOutputNames => Request::QueryDerivationOutputNames(path()),
        Op::QueryPathFromHashPart => Request::QueryPathFromHashPart("0".repeat(32)),
        Op::QuerySubstitutablePathInfos => Request::QuerySubstitutablePathInfos(BTreeMap::new()),
        Op::QueryValidPaths => Request::QueryValidPaths {
            paths: BTreeSet::from([path()]),
            substitute: false,
        },
        Op::QuerySubstitutablePaths => Request::QuerySubstitutablePaths(BTreeSet::new()),
        Op::QueryValidDerivers => Request::QueryValidDerivers(path()),
        Op::OptimiseStore => Request::OptimiseStore,
        Op::VerifyStore => Request::VerifyStore {
            check_contents: false,
            repair: false,
        },
        Op::BuildDerivation => Request::BuildDerivation {
            drv_path: path(),
            derivation: derivation(),
            mode,
        },
        Op::AddSignatures => Request::AddSignatures {
            path: path(),
            signatures: BTreeSet::new(),
        },
        Op::NarFromPath => Request::NarFromPath(path()),
        Op::AddToStoreNar => Request::AddToStoreNar {
            info: path_info(),
            repair: false,
            dont_check_sigs: false,
        },
        Op::QueryMissing => Request::QueryMissing(paths),
        Op::QueryDerivationOutputMap => Request::QueryDerivationOutputMap(path()),
        Op::RegisterDrvOutput | Op::QueryRealisation => {
            Request::QueryRealisation(output_id(dialect))
        }
        Op::AddMultipleToStore => Request::AddMultipleToStore {
            repair: false,
            dont_check_sigs: false,
            count: 1,
        },
        Op::AddBuildLog => Request::AddBuildLog { drv_path: path() },
        Op::BuildPathsWithResults => Request::BuildPathsWithResults { paths, mode },
        Op::AddPermRoot => Request::AddPermRoot {
            path: path(),
            link: Text::default(),
        },
        Op::SubmitOutput => Request::SubmitOutput {
            path: SingleDerivedPath::Opaque(path()),
            output: "out".to_owned(),
        },
        Op::AddToStoreScanning => Request::AddToStoreScanning {
            name: "x".to_owned(),
            method: "fixed:r:sha256".to_owned(),
        },
    }
}

fn garbage_run() -> GarbageRun {
    GarbageRun {
        action: GarbageAction::ReturnDead,
        paths: GarbagePaths::WholeStore,
        ignore_liveness: false,
        max_freed: u64::MAX,
    }
}

fn derivation() -> BasicDerivation {
    BasicDerivation {
        outputs: BTreeMap::new(),
        input_sources: BTreeSet::new(),
        system: "x".to_owned(),
        builder: "x".to_owned(),
        args: Vec::new(),
        env: BTreeMap::new(),
    }
}
