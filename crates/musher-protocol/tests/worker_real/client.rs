//! Our client, and a daemon that is not ours.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, Text,
};
use musher_protocol::worker::{
    BodyItem, ClientEvent, GarbageAction, GarbagePaths, GarbageRun, Options, Request, Response,
    Version,
};
use nix_derivation::{CAHash, DerivedPath, HashAlgorithm, hash_bytes};

use crate::daemon::Daemon;
use crate::{ABSENT, GREETING, TOOL, info, nars, path};

#[test]
fn every_version_is_understood() {
    for version in Version::all() {
        let name = format!("worker-{}", version.minor_number());
        let Some(mut daemon) = Daemon::start(&name, version) else {
            return;
        };
        assert!(daemon.ready.version <= version);
        exchange(&mut daemon);
        daemon.stop();
    }
}

#[test]
fn requests_are_pipelined() {
    let Some(mut daemon) = Daemon::start("worker-pipelined", Version::MAX) else {
        return;
    };
    let nar = nars::file(b"hello from afar\n");
    let greeting = info(GREETING, BTreeSet::new(), &nar);
    daemon.send_nar(&greeting, &nar);
    for request in [
        Request::IsValidPath(path(GREETING)),
        Request::EnsurePath(path(ABSENT)),
        Request::NarFromPath(path(GREETING)),
        Request::IsValidPath(path(ABSENT)),
    ] {
        daemon.session.request(request).unwrap();
    }
    assert_eq!(daemon.session.in_flight(), 5);
    assert_eq!(daemon.reply(), Response::Unit);
    assert_eq!(daemon.reply(), Response::Bool(true));
    assert!(matches!(daemon.event(), Ok(ClientEvent::Failed(_))));
    assert_eq!(daemon.receive_nar(), nar);
    assert_eq!(daemon.reply(), Response::Bool(false));
    assert_eq!(daemon.session.in_flight(), 0);
    daemon.stop();
}

/// One request of most kinds.
fn exchange(daemon: &mut Daemon) {
    let version = daemon.ready.version;
    let options = Request::SetOptions(Options::default());
    assert_eq!(daemon.ask(options), Response::Unit);

    // A path goes there and comes back.
    let nar = nars::file(b"hello from afar\n");
    let greeting = info(GREETING, BTreeSet::new(), &nar);
    daemon.send_nar(&greeting, &nar);
    assert_eq!(daemon.reply(), Response::Unit);
    let known = daemon.ask(Request::QueryPathInfo(path(GREETING)));
    let Response::PathInfo(Some(mut known)) = known else {
        panic!("{known:?} instead of a path")
    };
    known.registration_time = greeting.registration_time;
    assert_eq!(known, greeting);
    let absent = daemon.ask(Request::QueryPathInfo(path(ABSENT)));
    assert_eq!(absent, Response::PathInfo(None));
    daemon
        .session
        .request(Request::NarFromPath(path(GREETING)))
        .unwrap();
    assert_eq!(daemon.receive_nar(), nar);

    // Questions about paths.
    let only = BTreeSet::from([path(GREETING)]);
    let valid = daemon.ask(Request::QueryValidPaths {
        paths: BTreeSet::from([path(GREETING), path(ABSENT)]),
        substitute: false,
    });
    assert_eq!(valid, Response::Paths(only.clone()));
    assert_eq!(
        daemon.ask(Request::QueryAllValidPaths),
        Response::Paths(only)
    );
    let missing = daemon.ask(Request::QueryMissing(vec![DerivedPath::Opaque(path(
        ABSENT,
    ))]));
    let Response::Missing(missing) = missing else {
        panic!("{missing:?} instead of what is missing")
    };
    assert_eq!(missing.unknown, BTreeSet::from([path(ABSENT)]));
    let by_hash = Request::QueryPathFromHashPart(GREETING[..32].to_owned());
    let found = Response::OptionalPath(Some(path(GREETING)));
    assert_eq!(daemon.ask(by_hash), found);
    let substitutable = Request::QuerySubstitutablePathInfos([(path(ABSENT), None)].into());
    let nothing = Response::SubstitutablePaths(BTreeMap::new());
    assert_eq!(daemon.ask(substitutable), nothing);

    // Content by its address.
    let text = Request::AddTextToStore {
        name: "text".to_owned(),
        text: Text::from("to be read"),
        references: BTreeSet::new(),
    };
    let Response::Path(text) = daemon.ask(text) else {
        panic!("a text is added")
    };
    assert_eq!(text.name(), "text");
    if version.has(25) {
        let request = Request::AddToStore {
            name: "flat".to_owned(),
            method: "fixed:sha256".to_owned(),
            references: BTreeSet::new(),
            repair: false,
        };
        daemon.session.request(request).unwrap();
        daemon.send(b"flat content");
        daemon.session.body(BodyItem::End).unwrap();
        let Response::Added(added) = daemon.reply() else {
            panic!("a file is added")
        };
        assert!(added.ca.is_some());
    } else {
        let request = Request::AddNarToStore {
            name: "tree".to_owned(),
            recursive: true,
            algorithm: "sha256".to_owned(),
        };
        daemon.session.request(request).unwrap();
        daemon.send(&nars::directory(b"tool", b"#!/bin/sh\n"));
        daemon.session.body(BodyItem::End).unwrap();
        assert!(matches!(daemon.reply(), Response::Path(_)));
    }

    // A build that works and one that does not.
    let built = build(daemon, "echo said; echo built > $out");
    assert_eq!(built.status, BuildStatus::Built, "{}", built.error);
    assert!(!version.has(28) || built.built_outputs.contains_key("out"));
    let failed = build(daemon, "echo said; exit 1");
    assert!(!failed.status.is_success());
    assert!(!failed.error.is_empty());

    // What fails says so, and the session goes on.
    daemon
        .session
        .request(Request::EnsurePath(path(ABSENT)))
        .unwrap();
    let Ok(ClientEvent::Failed(error)) = daemon.event() else {
        panic!("nobody has the path")
    };
    assert!(error.message.to_string().contains("absent"), "{error:?}");

    housekeeping(daemon);
}

/// Builds something with this script.
fn build(daemon: &mut Daemon, script: &str) -> BuildResult {
    let hash = hash_bytes(HashAlgorithm::Sha256, b"built\n").to_nix_base16_string();
    let digest = hash.strip_prefix("sha256:").unwrap().to_owned();
    // A name of its own for each script, and so a path.
    let name = format!("built-{}", script.len());
    let ca = CAHash::parse(&format!("fixed:sha256:{digest}")).unwrap();
    let store_dir = &daemon.store_dir;
    let output = store_dir.build_ca_path(&name, &ca, std::iter::empty(), false);
    let output = output.unwrap();
    let out = store_dir.render_path(&output);
    let response = daemon.ask(Request::BuildDerivation {
        drv_path: path(&format!("k1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-{name}.drv")),
        derivation: BasicDerivation {
            outputs: BTreeMap::from([(
                "out".to_owned(),
                BasicOutput {
                    path: Some(output),
                    hash_algo: "sha256".to_owned(),
                    hash: digest,
                },
            )]),
            input_sources: BTreeSet::new(),
            system: format!("{}-linux", std::env::consts::ARCH),
            builder: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::from([
                ("out".to_owned(), out.into_bytes()),
                ("name".to_owned(), name.into_bytes()),
            ]),
        },
        mode: BuildMode::Normal,
    });
    let Response::BuildResult(result) = response else {
        panic!("{response:?} instead of a result")
    };
    result
}

fn housekeeping(daemon: &mut Daemon) {
    let version = daemon.ready.version;
    let root = daemon.ask(Request::AddTempRoot(path(GREETING)));
    assert_eq!(root, Response::Unit);
    assert_eq!(daemon.ask(Request::SyncWithGc), Response::Unit);
    let Response::Roots(_) = daemon.ask(Request::FindRoots) else {
        panic!("roots are listed")
    };
    let dead = daemon.ask(Request::CollectGarbage(GarbageRun {
        action: GarbageAction::ReturnDead,
        paths: GarbagePaths::WholeStore,
        ignore_liveness: false,
        max_freed: u64::MAX,
    }));
    assert!(matches!(dead, Response::Garbage { .. }), "{dead:?}");
    let verified = daemon.ask(Request::VerifyStore {
        check_contents: true,
        repair: false,
    });
    assert_eq!(verified, Response::Bool(false));
    let signed = daemon.ask(Request::AddSignatures {
        path: path(GREETING),
        signatures: BTreeSet::from([format!("key:{}==", "A".repeat(86))]),
    });
    assert_eq!(signed, Response::Unit);
    if version.has(32) {
        add_multiple(daemon);
        let log = Request::AddBuildLog {
            drv_path: path("k1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-built.drv"),
        };
        daemon.session.request(log).unwrap();
        daemon.send(b"what was said\n");
        daemon.session.body(BodyItem::End).unwrap();
        assert_eq!(daemon.reply(), Response::Unit);
    }

    // Last, since it ends the session.
    daemon
        .session
        .request(Request::NarFromPath(path(ABSENT)))
        .unwrap();
    let failed = daemon.event();
    let Ok(ClientEvent::Failed(error)) = failed else {
        panic!("{failed:?}, and there is no such path")
    };
    assert!(error.message.to_string().contains("absent"), "{error:?}");
    assert!(daemon.event().unwrap_err().is_end());
}

fn add_multiple(daemon: &mut Daemon) {
    let file = nars::file(b"hello\n");
    let tool = nars::directory(b"tool", b"#!/bin/sh\n");
    let other = "j1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-other";
    let references = BTreeSet::from([path(other), path(TOOL)]);
    let request = Request::AddMultipleToStore {
        repair: false,
        dont_check_sigs: true,
        count: 2,
    };
    daemon.session.request(request).unwrap();
    for (info, nar) in [
        (info(other, BTreeSet::new(), &file), &file),
        (info(TOOL, references, &tool), &tool),
    ] {
        daemon.session.body(BodyItem::Path(info)).unwrap();
        daemon.send(nar);
    }
    daemon.session.body(BodyItem::End).unwrap();
    assert_eq!(daemon.reply(), Response::Unit);
    let referrers = daemon.ask(Request::QueryReferrers(path(other)));
    let tool = Response::Paths(BTreeSet::from([path(TOOL)]));
    assert_eq!(referrers, tool);
}
