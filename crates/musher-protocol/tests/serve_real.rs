//! Our client against a real `nix-store --serve --write`, where one is
//! installed.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "common/nars.rs"]
mod nars;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use musher_protocol::serve::{
    BodyItem, BuildOptions, ClientEvent, ClientSession, Config, Exported, Request, Response,
    SessionError,
};
use musher_protocol::types::{BasicDerivation, BasicOutput, BuildStatus, NarHash, PathInfo};
use nix_derivation::{HashAlgorithm, NixHash, StoreDir, StorePath, hash_bytes};

/// A server process with a store of its own.
struct Server {
    root: PathBuf,
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    session: ClientSession,
}

impl Server {
    /// Starts a server, if `nix-store` is here, and shakes hands.
    fn start(name: &str) -> Option<Self> {
        if Command::new("nix-store").arg("--version").output().is_err() {
            skipped();
            return None;
        }
        let unique = format!("{name}-{}", std::process::id());
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&root).unwrap();
        // A server that hangs ends, and with it the test.
        let mut process = Command::new("timeout")
            .args(["60", "nix-store", "--store"])
            .arg(&root)
            .args(["--serve", "--write"])
            .env("NIX_CONFIG", "build-users-group =\nsubstitute = false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            root,
            input: process.stdin.take().unwrap(),
            output: process.stdout.take().unwrap(),
            process,
            session: ClientSession::new(Config::new(StoreDir::default())),
        };
        let ready = server.event().unwrap();
        assert!(matches!(ready, ClientEvent::Ready(_)), "{ready:?}");
        Some(server)
    }

    fn event(&mut self) -> Result<ClientEvent, SessionError> {
        loop {
            self.input.write_all(&self.session.take_output()).unwrap();
            self.input.flush().unwrap();
            if let Some(event) = self.session.next_event() {
                return event;
            }
            let mut buffer = [0; 4096];
            match self.output.read(&mut buffer).unwrap() {
                0 => self.session.end(),
                count => self.session.receive(&buffer[..count]),
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Response {
        self.session.request(request).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Response {
        match self.event() {
            Ok(ClientEvent::Reply(response)) => response,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    fn send_nar(&mut self, info: &PathInfo, nar: &[u8]) {
        let info = info.clone();
        self.session
            .request(&Request::AddToStoreNar { info })
            .unwrap();
        for chunk in nar.chunks(100) {
            let chunk = Bytes::copy_from_slice(chunk);
            self.session.body(&BodyItem::Chunk(chunk)).unwrap();
        }
        self.session.body(&BodyItem::End).unwrap();
    }

    fn receive_nar(&mut self) -> Vec<u8> {
        let mut nar = Vec::new();
        loop {
            match self.event() {
                Ok(ClientEvent::Nar(bytes)) => nar.extend_from_slice(&bytes),
                Ok(ClientEvent::Reply(Response::Nar)) => return nar,
                other => panic!("{other:?} instead of a NAR"),
            }
        }
    }

    fn stop(self) {
        let Self {
            root,
            mut process,
            input,
            ..
        } = self;
        drop(input);
        process.wait().unwrap();
        // Store paths are read-only directories, which only root removes so.
        drop(fs::remove_dir_all(root));
    }
}

#[expect(clippy::print_stderr, reason = "a skipped check has to be seen")]
fn skipped() {
    eprintln!("skipped: there is no `nix-store` here");
}

fn path(base_name: &str) -> StorePath {
    StorePath::from_basename(base_name.as_bytes()).unwrap()
}

fn info(base_name: &str, references: BTreeSet<StorePath>, nar: &[u8]) -> PathInfo {
    let NixHash::Sha256(digest) = hash_bytes(HashAlgorithm::Sha256, nar) else {
        panic!("SHA-256 is SHA-256");
    };
    PathInfo {
        path: path(base_name),
        deriver: None,
        nar_hash: NarHash(digest),
        nar_size: nar.len() as u64,
        references,
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

const GREETING: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-greeting";
const TOOL: &str = "h1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-tool";
const ABSENT: &str = "i1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent";

#[test]
fn a_path_goes_there_and_comes_back() {
    let Some(mut server) = Server::start("serve-there-and-back") else {
        return;
    };
    let nar = nars::file(b"hello from afar\n");
    let sent = info(GREETING, BTreeSet::new(), &nar);
    let both: BTreeSet<_> = [path(GREETING), path(ABSENT)].into();

    server.send_nar(&sent, &nar);
    assert_eq!(server.reply(), Response::Added(true));
    let query = Request::QueryValidPaths {
        lock: true,
        substitute: false,
        paths: both.clone(),
    };
    let valid = Response::ValidPaths([path(GREETING)].into());
    assert_eq!(server.ask(&query), valid);
    let infos = server.ask(&Request::QueryPathInfos { paths: both });
    assert_eq!(infos, Response::PathInfos(vec![sent]));
    let path = path(GREETING);
    server
        .session
        .request(&Request::DumpStorePath { path })
        .unwrap();
    assert_eq!(server.receive_nar(), nar);
    server.stop();
}

#[test]
fn requests_are_pipelined() {
    let Some(mut server) = Server::start("serve-pipelined") else {
        return;
    };
    let file = nars::file(b"hello\n");
    let tool = nars::directory(b"tool", b"#!/bin/sh\n");
    let greeting = info(GREETING, BTreeSet::new(), &file);
    let tool_info = info(TOOL, [path(GREETING), path(TOOL)].into(), &tool);

    server.send_nar(&greeting, &file);
    server.session.request(&Request::ImportPaths).unwrap();
    for item in [
        BodyItem::Chunk(Bytes::from(tool.clone())),
        BodyItem::Path(Exported {
            path: path(TOOL),
            references: tool_info.references.clone(),
            deriver: None,
        }),
        BodyItem::End,
    ] {
        server.session.body(&item).unwrap();
    }
    let closure = Request::QueryClosure {
        include_outputs: false,
        paths: [path(TOOL)].into(),
    };
    server.session.request(&closure).unwrap();
    let dump = Request::DumpStorePath { path: path(TOOL) };
    server.session.request(&dump).unwrap();
    let infos = Request::QueryPathInfos {
        paths: [path(TOOL)].into(),
    };
    server.session.request(&infos).unwrap();
    assert_eq!(server.session.unanswered(), 5);

    assert_eq!(server.reply(), Response::Added(true));
    assert_eq!(server.reply(), Response::Imported(true));
    let both = [path(GREETING), path(TOOL)].into();
    assert_eq!(server.reply(), Response::Closure(both));
    assert_eq!(server.receive_nar(), tool);
    assert_eq!(server.reply(), Response::PathInfos(vec![tool_info]));
    server.stop();
}

#[test]
fn failed_builds_are_outcomes() {
    let Some(mut server) = Server::start("serve-failures") else {
        return;
    };
    let output = BasicOutput {
        path: Some(path("j1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-built")),
        hash_algo: String::new(),
        hash: String::new(),
    };
    let response = server.ask(&Request::BuildDerivation {
        drv_path: path("k1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-built.drv"),
        derivation: BasicDerivation {
            outputs: [("out".to_owned(), output)].into(),
            input_sources: BTreeSet::new(),
            system: "no-such-system".to_owned(),
            builder: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), "exit 1".to_owned()],
            env: BTreeMap::new(),
        },
        options: BuildOptions::default(),
    });
    let Response::Built(result) = response else {
        panic!("{response:?} instead of a result");
    };
    assert_eq!(result.status, BuildStatus::MiscFailure);
    assert!(result.error.to_string().contains("no-such-system"));

    let response = server.ask(&Request::BuildPaths {
        paths: vec![StoreDir::default().render_path(&path(ABSENT))],
        options: BuildOptions::default(),
    });
    let Response::PathsBuilt(Err(failure)) = response else {
        panic!("{response:?} instead of a failure");
    };
    assert!(failure.message.to_string().contains("absent"));
    server.stop();
}

#[test]
fn an_error_closes_the_connection() {
    let Some(mut server) = Server::start("serve-error") else {
        return;
    };
    let path = path(ABSENT);
    server
        .session
        .request(&Request::DumpStorePath { path })
        .unwrap();
    let error = server.event().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer closed the connection before it answered `DumpStorePath`"
    );
    server.stop();
}
