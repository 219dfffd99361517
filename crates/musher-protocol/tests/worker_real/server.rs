//! Our server, and a client that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use musher_protocol::types::PathInfo;
use musher_protocol::worker::{
    BodyItem, Missing, Op, Request, Response, ServerConfig, ServerEvent, ServerSession, Trust,
};
use nix_derivation::{StoreDir, StorePath};

use crate::{TOOL, scratch, skipped};

/// Paths and their NARs, served to one client after the other.
#[derive(Default)]
struct Shop {
    paths: BTreeMap<StorePath, (PathInfo, Vec<u8>)>,
    /// The path that is being added.
    adding: Option<StorePath>,
    log: Vec<Op>,
}

impl Shop {
    /// Serves the connection of `client` until that ends. The connection
    /// itself need not: what carries it may outlive the client.
    fn serve(&mut self, listener: &TcpListener, client: &mut Child) {
        let (mut stream, _) = listener.accept().unwrap();
        let moment = Duration::from_millis(50);
        stream.set_read_timeout(Some(moment)).unwrap();
        let config = ServerConfig {
            trust: Some(Trust::Trusted),
            ..ServerConfig::new(StoreDir::default(), "2.99")
        };
        let mut session = ServerSession::new(config);
        loop {
            while let Some(event) = session.next_event() {
                match event.unwrap() {
                    ServerEvent::Ready(_) => {}
                    ServerEvent::Request(request) => self.request(&mut session, request),
                    ServerEvent::Body(item) => self.body(&mut session, item),
                    ServerEvent::Closed => return,
                }
            }
            stream.write_all(&session.take_output()).unwrap();
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => session.end(),
                Ok(count) => session.receive(&buffer[..count]),
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                Err(_) if client.try_wait().unwrap().is_some() => session.end(),
                Err(_) => {}
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else a client asks fails the test"
    )]
    fn request(&mut self, session: &mut ServerSession, request: Request) {
        self.log.push(request.op());
        let response = match request {
            Request::SetOptions(_) | Request::AddTempRoot(_) => Response::Unit,
            Request::IsValidPath(path) => Response::Bool(self.paths.contains_key(&path)),
            Request::QueryValidPaths { mut paths, .. } => {
                paths.retain(|path| self.paths.contains_key(path));
                Response::Paths(paths)
            }
            Request::QueryPathInfo(path) => {
                let info = self.paths.get(&path).map(|(info, _)| info.clone());
                Response::PathInfo(info)
            }
            Request::QueryMissing(_) => Response::Missing(Missing::default()),
            Request::NarFromPath(path) => {
                session.reply(&Response::Nar).unwrap();
                return session.nar(&self.paths[&path].1).unwrap();
            }
            Request::AddMultipleToStore { .. } => return,
            Request::AddToStoreNar { info, .. } => return self.begin(info),
            other => panic!("{other:?} was not to be expected"),
        };
        session.reply(&response).unwrap();
    }

    fn begin(&mut self, info: PathInfo) {
        self.adding = Some(info.path.clone());
        self.paths.insert(info.path.clone(), (info, Vec::new()));
    }

    fn body(&mut self, session: &mut ServerSession, item: BodyItem) {
        match item {
            BodyItem::Path(info) => self.begin(info),
            BodyItem::Chunk(bytes) => {
                let path = self.adding.as_ref().unwrap();
                self.paths.get_mut(path).unwrap().1.extend(bytes);
            }
            BodyItem::End => session.reply(&Response::Unit).unwrap(),
        }
    }
}

/// A program that connects its standard streams to `port`.
fn remote_program(root: &Path, port: u16) -> PathBuf {
    let program = root.join("remote-program");
    let script =
        format!("#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\ncat <&3 & cat >&3\nkill $!\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

#[test]
fn a_real_client_copies_to_us_and_from_us() {
    let root = scratch("worker-copy");
    let store = root.join("store");
    let nix = |program: &str| {
        let mut command = Command::new(program);
        command
            .env(
                "NIX_CONFIG",
                "substituters =\nexperimental-features = nix-command",
            )
            .arg("--store");
        command
    };
    let source = root.join("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("big"), vec![7; 300_000]).unwrap();
    fs::write(source.join("small"), b"small").unwrap();
    let mut add = nix("nix-store");
    if add.arg(&store).arg("--add").arg(&source).output().is_err() {
        return skipped();
    }
    let added = run(&mut add).stdout;
    let added = String::from_utf8(added).unwrap();
    let dump = run(Command::new("nix-store").arg("--dump").arg(&source));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = remote_program(&root, listener.local_addr().unwrap().port());
    let url = format!("ssh-ng://localhost?remote-program={}", program.display());
    let mut shop = Shop::default();
    let mut serve = |command: &mut Command| {
        // Into a file: nobody reads a pipe while the client is served.
        let said = root.join("said");
        let mut client = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        shop.serve(&listener, &mut client);
        assert!(client.wait().unwrap().success(), "{command:?}");
        fs::read(&said).unwrap()
    };
    serve(
        nix("nix")
            .arg(&store)
            .args(["copy", "--no-check-sigs"])
            .args(["--to", &url, added.trim()]),
    );
    let back = serve(
        nix("nix")
            .arg(&url)
            .args(["store", "dump-path", added.trim()]),
    );
    assert_eq!(back, dump.stdout);
    assert!(shop.log.contains(&Op::NarFromPath), "{:?}", shop.log);
    let (info, nar) = shop.paths.first_key_value().unwrap().1;
    assert_eq!(*nar, dump.stdout);
    assert_eq!(
        info.nar_hash,
        crate::info(TOOL, BTreeSet::new(), nar).nar_hash
    );
    drop(fs::remove_dir_all(root));
}
