//! Sessions over a store in a temporary directory, as a client has them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use musher_protocol::types::{BuildMode, NarHash, PathInfo, Text};
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, Missing, Request, Response, Version,
};
use nix_derivation::{
    CAHash, DerivationBuilder, DerivedPath, HashAlgorithm, InputDerivation, NixHash,
    SingleDerivedPath, StoreDir, StorePath, ValidatedDerivation, hash_bytes,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::connect_local;
use crate::local::LocalOptions;
use crate::{WorkerConnection, deaf};

/// A store, and one client of it.
struct Scene {
    dir: TempDir,
    client: WorkerConnection,
}

impl Scene {
    async fn new() -> Self {
        Self::speaking(Version::MAX).await
    }

    async fn speaking(version: Version) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let client = connect(dir.path(), version).await;
        Self { dir, client }
    }

    async fn ask(&mut self, request: Request) -> Result<Response, String> {
        self.client.request(request).expect("a request");
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Response, String> {
        let outcome = self.client.outcome(&mut deaf).await;
        let outcome = outcome.expect("a session that goes on");
        outcome.map_err(|error| error.message.to_string())
    }

    /// Makes a request whose body is `content`.
    async fn upload(&mut self, request: Request, content: &[u8]) -> Result<Response, String> {
        self.client.request(request).expect("a request");
        for chunk in content.chunks(1000) {
            self.send(BodyItem::Chunk(Bytes::copy_from_slice(chunk)))
                .await;
        }
        self.send(BodyItem::End).await;
        self.answer().await
    }

    async fn send(&mut self, item: BodyItem) {
        self.client.body(item).await.expect("a session");
    }

    async fn nar(&mut self, path: &StorePath) -> Result<Vec<u8>, String> {
        let request = Request::NarFromPath(path.clone());
        self.client.request(request).expect("a request");
        let mut nar = Vec::new();
        loop {
            match self.client.event().await.expect("a session") {
                ClientEvent::Nar(chunk) => nar.extend(chunk),
                ClientEvent::Reply(_) => return Ok(nar),
                ClientEvent::Failed(error) => return Err(error.message.to_string()),
                other @ (ClientEvent::Ready(_)
                | ClientEvent::Message(_)
                | ClientEvent::Refused(_)) => panic!("no NAR: {other:?}"),
            }
        }
    }

    async fn is_valid(&mut self, path: &StorePath) -> bool {
        let answer = self.ask(Request::IsValidPath(path.clone())).await;
        answer == Ok(Response::Bool(true))
    }

    /// Adds content by its address.
    async fn add_source(&mut self, method: &str, body: &[u8]) -> PathInfo {
        let request = Request::AddToStore {
            name: "added".to_owned(),
            method: method.to_owned(),
            references: BTreeSet::new(),
            repair: false,
        };
        match self.upload(request, body).await {
            Ok(Response::Added(info)) => info,
            other => panic!("{method}: {other:?}"),
        }
    }

    /// Adds a derivation as a client does that evaluates.
    async fn add_drv(&mut self, derivation: &ValidatedDerivation) -> StorePath {
        let text = derivation.to_aterm_bytes();
        let inputs = derivation.input_derivations().keys();
        let request = Request::AddTextToStore {
            name: format!("{}.drv", derivation.name()),
            text: Text::from(Bytes::from(text)),
            references: inputs.chain(derivation.input_sources()).cloned().collect(),
        };
        match self.ask(request).await {
            Ok(Response::Path(path)) => path,
            other => panic!("no derivation: {other:?}"),
        }
    }

    /// Whether a Nix that is installed finds the store in order.
    fn verify(&self) {
        let mut command = Command::new("nix-store");
        command.env("NIX_CONFIG", "build-users-group =").args([
            "--verify",
            "--check-contents",
            "--store",
        ]);
        match command.arg(self.dir.path()).output() {
            Ok(found) => {
                let told = String::from_utf8_lossy(&found.stderr);
                assert!(found.status.success(), "{told}");
                let bad = told.contains("error") || told.contains("warning");
                assert!(!bad, "{told}");
            }
            Err(_) => {
                // Not `eprintln!`, which a passing test keeps to itself.
                let _ = writeln!(std::io::stderr(), "skipped: there is no nix-store");
            }
        }
    }
}

async fn connect(root: &Path, version: Version) -> WorkerConnection {
    let options = LocalOptions::below(root);
    let transport = connect_local(options, Arc::new([])).await.expect("a store");
    let mut config = ClientConfig::new(StoreDir::default());
    config.max_version = version;
    let connection = WorkerConnection::open(transport, config);
    connection.await.expect("a session")
}

fn path(name: &str) -> StorePath {
    StorePath::from_parts([7; 20], name).expect("a path")
}

/// The NAR of a file.
fn nar(content: &[u8]) -> Vec<u8> {
    let mut nar = Vec::new();
    let words: [&[u8]; 7] = [
        b"nix-archive-1",
        b"(",
        b"type",
        b"regular",
        b"contents",
        content,
        b")",
    ];
    for word in words {
        nar.extend((word.len() as u64).to_le_bytes());
        nar.extend(word);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}

fn info(name: &str, nar: &[u8], references: &[&str]) -> PathInfo {
    PathInfo {
        path: path(name),
        deriver: None,
        nar_hash: NarHash(Sha256::digest(nar).into()),
        nar_size: nar.len() as u64,
        references: references.iter().map(|name| path(name)).collect(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

fn add(info: &PathInfo, dont_check_sigs: bool) -> Request {
    Request::AddToStoreNar {
        info: info.clone(),
        repair: false,
        dont_check_sigs,
    }
}

#[tokio::test]
async fn content_is_added_by_each_address() {
    let mut scene = Scene::new().await;
    let content = b"some content\n".as_slice();
    let archive = nar(content);
    let sha256 = |bytes| hash_bytes(HashAlgorithm::Sha256, bytes);
    let sha1 = |bytes| hash_bytes(HashAlgorithm::Sha1, bytes);
    let cases = [
        ("fixed:sha256", content, CAHash::Flat(sha256(content))),
        ("fixed:sha1", content, CAHash::Flat(sha1(content))),
        ("fixed:r:sha256", &archive, CAHash::Nar(sha256(&archive))),
        ("fixed:r:sha1", &archive, CAHash::Nar(sha1(&archive))),
        (
            "text:sha256",
            content,
            CAHash::Text(Sha256::digest(content).into()),
        ),
    ];
    for (method, body, ca) in cases {
        let added = scene.add_source(method, body).await;
        let name = StoreDir::default().build_ca_path("added", &ca, [], false);
        assert_eq!(Ok(&added.path), name.as_ref(), "{method}");
        assert_eq!(added.ca, Some(ca), "{method}");
        assert_eq!(scene.nar(&added.path).await.as_ref(), Ok(&archive));
    }
    scene.verify();
}

/// Old Nix cannot verify it.
#[tokio::test]
async fn content_is_added_by_the_address_that_git_has() {
    let mut scene = Scene::new().await;
    let blob = hash_bytes(HashAlgorithm::Sha1, b"blob 13\0some content\n");
    let archive = nar(b"some content\n");
    let added = scene.add_source("fixed:git:sha1", &archive).await;
    assert_eq!(added.ca, Some(CAHash::Git(blob)));
    assert_eq!(scene.nar(&added.path).await, Ok(archive));
}

#[tokio::test]
async fn old_clients_add_archives() {
    let mut scene = Scene::speaking(Version::minor(21)).await;
    for recursive in [false, true] {
        let request = Request::AddNarToStore {
            name: "added".to_owned(),
            recursive,
            algorithm: "sha256".to_owned(),
        };
        let content = b"some content\n".as_slice();
        let archive = nar(content);
        let added = scene.upload(request, &archive).await;
        let hash = |bytes: &[u8]| NixHash::Sha256(Sha256::digest(bytes).into());
        let ca = match recursive {
            true => CAHash::Nar(hash(&archive)),
            false => CAHash::Flat(hash(content)),
        };
        let path = StoreDir::default().build_ca_path("added", &ca, [], false);
        assert_eq!(added, Ok(Response::Path(path.expect("a path"))));
    }
    let pulled = nar(&[9; 200_000]);
    let added = scene.upload(add(&info("pulled", &pulled, &[]), true), &pulled);
    assert_eq!(added.await, Ok(Response::Unit));
    scene.verify();
}

#[tokio::test]
async fn paths_go_there_and_back() {
    let mut scene = Scene::new().await;
    let (one, two) = (nar(&[1; 300_000]), nar(b"two"));
    let request = Request::AddMultipleToStore {
        repair: false,
        dont_check_sigs: true,
        count: 2,
    };
    scene.client.request(request).expect("a request");
    for (name, nar, references) in [("one", &one, &["one"][..]), ("two", &two, &["one"])] {
        scene
            .send(BodyItem::Path(info(name, nar, references)))
            .await;
        for chunk in nar.chunks(70_000) {
            scene
                .send(BodyItem::Chunk(Bytes::copy_from_slice(chunk)))
                .await;
        }
    }
    scene.send(BodyItem::End).await;
    assert_eq!(scene.answer().await, Ok(Response::Unit));

    let paths = BTreeSet::from([path("one"), path("three")]);
    let valid = scene.ask(Request::QueryValidPaths {
        paths,
        substitute: true,
    });
    assert_eq!(valid.await, Ok(Response::Paths([path("one")].into())));
    let referrers = scene.ask(Request::QueryReferrers(path("one"))).await;
    assert_eq!(
        referrers,
        Ok(Response::Paths([path("one"), path("two")].into()))
    );
    let found = scene.ask(Request::QueryPathInfo(path("two"))).await;
    let Ok(Response::PathInfo(Some(found))) = found else {
        panic!("no info: {found:?}");
    };
    assert_eq!(found.nar_hash, info("two", &two, &[]).nar_hash);
    assert!(found.registration_time > 0);
    assert_eq!(scene.nar(&path("one")).await, Ok(one));
    scene.verify();
}

#[tokio::test]
async fn what_nobody_vouches_for_is_refused() {
    let mut scene = Scene::new().await;
    let bytes = nar(b"unsigned");
    let unsigned = info("unsigned", &bytes, &[]);
    let added = scene.upload(add(&unsigned, false), &bytes).await;
    let error = added.expect_err("a refusal");
    assert!(error.contains("lacks a signature"), "{error}");

    let mut other = unsigned.clone();
    other.nar_hash = NarHash([0; 32]);
    let added = scene.upload(add(&other, true), &bytes).await;
    let error = added.expect_err("a refusal");
    assert!(error.contains("hash"), "{error}");

    let added = scene.upload(add(&info("user", &bytes, &["missing"]), true), &bytes);
    let error = added.await.expect_err("a refusal");
    assert!(error.contains("refers to"), "{error}");
    assert!(!scene.is_valid(&path("unsigned")).await);
    scene.verify();
}

#[tokio::test]
async fn a_broken_upload_leaves_nothing() {
    let mut scene = Scene::new().await;
    let bytes = nar(&[3; 200_000]);
    let request = add(&info("half", &bytes, &[]), true);
    scene.client.request(request).expect("a request");
    scene
        .send(BodyItem::Chunk(Bytes::copy_from_slice(&bytes[..100_000])))
        .await;
    // It hangs up.
    scene.client = connect(scene.dir.path(), Version::MAX).await;
    assert!(!scene.is_valid(&path("half")).await);
    let added = scene.upload(add(&info("half", &bytes, &[]), true), &bytes);
    assert_eq!(added.await, Ok(Response::Unit));
    scene.verify();
}

#[tokio::test]
async fn a_path_that_is_not_there_is_said_and_survived() {
    let mut scene = Scene::new().await;
    let error = scene.nar(&path("missing")).await.expect_err("no NAR");
    assert!(error.ends_with("-missing' is not valid"), "{error}");
    let ensured = scene.ask(Request::EnsurePath(path("missing"))).await;
    let error = ensured.expect_err("no path");
    assert!(error.contains("no substituters"), "{error}");
    let deriver = scene.ask(Request::QueryDeriver(path("missing"))).await;
    assert!(deriver.is_err());
    let info = scene.ask(Request::QueryPathInfo(path("missing"))).await;
    assert_eq!(info, Ok(Response::PathInfo(None)));
}

/// A derivation, and one that needs it.
async fn two_derivations(scene: &mut Scene) -> [(StorePath, ValidatedDerivation); 2] {
    let builder = |name| {
        DerivationBuilder::new(name, "x86_64-linux", "/bin/sh").input_addressed_output("out")
    };
    let low = builder("low").build().expect("a derivation");
    let low_path = scene.add_drv(&low).await;
    let hash = low.hash_input_derivation_modulo(|_| [0; 32]);
    let hash = hash.expect("a hash");
    let high = builder("high")
        .input_derivation(low_path.clone(), InputDerivation::new(["out"]))
        .build_with_input_hashes(|_| hash)
        .expect("a derivation");
    let high_path = scene.add_drv(&high).await;
    [(low_path, low), (high_path, high)]
}

fn all_of(drv_path: &StorePath) -> DerivedPath {
    DerivedPath::Built {
        drv_path: SingleDerivedPath::Opaque(drv_path.clone()),
        outputs: Vec::new(),
    }
}

#[tokio::test]
async fn what_is_missing_follows_from_what_is_there() {
    let mut scene = Scene::new().await;
    let [(low, low_drv), (high, _)] = two_derivations(&mut scene).await;
    let wanted = vec![all_of(&high), DerivedPath::Opaque(path("missing"))];
    let missing = Missing {
        will_build: [low.clone(), high.clone()].into(),
        unknown: [path("missing")].into(),
        ..Missing::default()
    };
    let answer = scene.ask(Request::QueryMissing(wanted.clone())).await;
    assert_eq!(answer, Ok(Response::Missing(missing)));

    let output = low_drv.resolved_outputs()["out"].path.clone();
    let output = output.expect("a path");
    let bytes = nar(b"low");
    let mut built = info("low", &bytes, &[]);
    built.path = output.clone();
    let added = scene.upload(add(&built, true), &bytes);
    assert_eq!(added.await, Ok(Response::Unit));
    let missing = Missing {
        will_build: [high.clone()].into(),
        ..Missing::default()
    };
    let answer = scene.ask(Request::QueryMissing(vec![all_of(&high)])).await;
    assert_eq!(answer, Ok(Response::Missing(missing)));

    let map = scene.ask(Request::QueryDerivationOutputMap(low.clone()));
    let expected = [("out".to_owned(), Some(output))].into();
    assert_eq!(map.await, Ok(Response::OutputMap(expected)));

    let build = |drv_path| Request::BuildPaths {
        paths: vec![all_of(drv_path)],
        mode: BuildMode::Normal,
    };
    assert_eq!(scene.ask(build(&low)).await, Ok(Response::Unit));
    let error = scene.ask(build(&high)).await.expect_err("no builder");
    assert!(error.contains("builds nothing"), "{error}");
    scene.verify();
}

#[tokio::test]
async fn links_keep_paths() {
    let mut scene = Scene::new().await;
    let bytes = nar(b"kept");
    let added = scene.upload(add(&info("kept", &bytes, &[]), true), &bytes);
    assert_eq!(added.await, Ok(Response::Unit));
    let link = scene.dir.path().join("result");
    let text = Text::from(link.display().to_string());
    let root = Request::AddPermRoot {
        path: path("kept"),
        link: text.clone(),
    };
    for _ in 0..2 {
        assert_eq!(
            scene.ask(root.clone()).await,
            Ok(Response::Link(text.clone()))
        );
    }
    let target = std::fs::read_link(&link).expect("a link");
    assert_eq!(target, Path::new(&path("kept").to_absolute_path()));
    let auto = scene.dir.path().join("nix/var/nix/gcroots/auto");
    let links: Vec<_> = std::fs::read_dir(auto).expect("roots").collect();
    assert_eq!(links.len(), 1);

    let taken = scene.dir.path().join("taken");
    std::fs::write(&taken, "something else").expect("a file");
    for place in [taken.display().to_string(), "result".to_owned()] {
        let root = Request::AddPermRoot {
            path: path("kept"),
            link: Text::from(place.clone()),
        };
        assert!(scene.ask(root).await.is_err(), "{place}");
    }
}

#[tokio::test]
async fn temporary_roots_last_as_long_as_the_session() {
    let mut scene = Scene::new().await;
    let kept = scene.ask(Request::AddTempRoot(path("kept"))).await;
    assert_eq!(kept, Ok(Response::Unit));
    let dir = scene.dir.path().join("nix/var/nix/temproots");
    let files = || std::fs::read_dir(&dir).expect("roots").flatten();
    let texts: Vec<_> = files()
        .map(|file| std::fs::read_to_string(file.path()).expect("a file"))
        .collect();
    assert_eq!(texts, [format!("{}\0", path("kept").to_absolute_path())]);
}
