//! A daemon process and a session with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::{
    BodyItem, ClientConfig, ClientEvent, ClientSession, Message, Negotiated, Request, Response,
    SessionError, Version,
};
use nix_derivation::StoreDir;

use crate::{scratch, skipped};

/// A daemon process with a store of its own, and a session with it.
pub(crate) struct Daemon {
    root: PathBuf,
    pub(crate) store_dir: StoreDir,
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    pub(crate) session: ClientSession,
    pub(crate) ready: Negotiated,
    log: Vec<Message>,
}

impl Daemon {
    /// Starts a daemon, if there is one here, and shakes hands.
    pub(crate) fn start(name: &str, max_version: Version) -> Option<Self> {
        let root = scratch(name);
        // A store directory of its own, where builds need no sandbox.
        let place = root.display();
        let store_dir = StoreDir::new(format!("{place}/store")).unwrap();
        let store = format!("local?store={store_dir}&state={place}/state&log={place}/log");
        let process = Command::new("nix-daemon")
            .args(["--store", &store, "--stdio"])
            .env(
                "NIX_CONFIG",
                "build-users-group =\nsubstituters =\nsandbox = false\n\
                 experimental-features = nix-command ca-derivations",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut process) = process else {
            skipped();
            return None;
        };
        let config = ClientConfig {
            max_version,
            ..ClientConfig::new(store_dir.clone())
        };
        let mut daemon = Self {
            root,
            store_dir,
            input: process.stdin.take().unwrap(),
            output: process.stdout.take().unwrap(),
            process,
            session: ClientSession::new(config),
            ready: Negotiated {
                version: max_version,
                features: BTreeSet::new(),
                nix_version: None,
                trust: None,
            },
            log: Vec::new(),
        };
        let Ok(ClientEvent::Ready(ready)) = daemon.event() else {
            panic!("the daemon does not shake hands")
        };
        daemon.ready = ready;
        Some(daemon)
    }

    pub(crate) fn event(&mut self) -> Result<ClientEvent, SessionError> {
        loop {
            let event = self.session.next_event();
            // A daemon that hung up may still have said why.
            drop(self.input.write_all(&self.session.take_output()));
            match event {
                Some(Ok(ClientEvent::Message(message))) => self.log.push(message),
                Some(event) => return event,
                None => {
                    let mut buffer = [0; 4096];
                    match self.output.read(&mut buffer).unwrap() {
                        0 => self.session.end(),
                        count => self.session.receive(&buffer[..count]),
                    }
                }
            }
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        self.session.request(request).unwrap();
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> Response {
        match self.event() {
            Ok(ClientEvent::Reply(response)) => response,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    pub(crate) fn send_nar(&mut self, info: &PathInfo, nar: &[u8]) {
        let request = Request::AddToStoreNar {
            info: info.clone(),
            repair: false,
            dont_check_sigs: true,
        };
        self.session.request(request).unwrap();
        self.send(nar);
        self.session.body(BodyItem::End).unwrap();
    }

    pub(crate) fn send(&mut self, content: &[u8]) {
        for chunk in content.chunks(100) {
            let chunk = Bytes::copy_from_slice(chunk);
            self.session.body(BodyItem::Chunk(chunk)).unwrap();
        }
    }

    pub(crate) fn receive_nar(&mut self) -> Vec<u8> {
        let mut nar = Vec::new();
        loop {
            match self.event() {
                Ok(ClientEvent::Nar(bytes)) => nar.extend_from_slice(&bytes),
                Ok(ClientEvent::Reply(Response::Nar)) => return nar,
                other => panic!("{other:?} instead of a NAR"),
            }
        }
    }

    pub(crate) fn stop(self) {
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
