//! Handshakes, and parts of requests.

use std::collections::BTreeSet;

use musher_protocol::types::{BuildMode, NarHash, PathInfo, Text};
use musher_protocol::worker::{
    ClientConfig, ClientSession, Dialect, Request, ServerInfo, SessionError, Trust, Version,
    derived_path, path_info,
};
use nix_derivation::{DerivedPath, SingleDerivedPath, StoreDir, StorePath};

use crate::primitives::{nar_ca, sri, words};
use crate::{BAR, BAR_DRV, FOO, FOO_DRV, check, check_request, path, plain, signature};

pub(crate) fn build_mode(bytes: &[u8]) {
    let modes = [BuildMode::Normal, BuildMode::Repair, BuildMode::Check];
    let (words, rest) = bytes.as_chunks::<8>();
    assert_eq!((words.len(), rest.len()), (modes.len(), 0));
    for (word, mode) in words.iter().zip(modes) {
        let paths = Vec::new();
        let no_paths = 0_u64.to_le_bytes();
        let bytes = [no_paths, *word].concat();
        check_request(&bytes, &plain(38), &Request::BuildPaths { paths, mode });
    }
}

pub(crate) fn trusted_flag(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    assert_eq!((words.len(), rest.len()), (3, 0));
    let trusts = [None, Some(Trust::Trusted), Some(Trust::NotTrusted)];
    for (word, trust) in words.iter().zip(trusts) {
        let bytes = [0_u64.to_le_bytes(), *word].concat();
        server_info(&bytes, 35, &[("", trust)]);
    }
}

pub(crate) fn server_info(bytes: &[u8], minor: u8, expected: &[(&str, Option<Trust>)]) {
    let dialect = plain(minor);
    let infos: Vec<_> = expected
        .iter()
        .map(|(version, trust)| ServerInfo {
            nix_version: dialect.has(33).then(|| Text::from(*version)),
            trust: *trust,
        })
        .collect();
    check(
        bytes,
        &infos,
        async |d| ServerInfo::decode(&dialect, d).await,
        |info, e| info.encode(&dialect, e),
    );
}

/// A server of version 1.10: understood, and refused.
pub(crate) fn handshake_to_client(bytes: &[u8]) {
    let mut session = ClientSession::new(ClientConfig::new(StoreDir::default()));
    session.receive(bytes);
    let peer = Version::minor(10);
    assert_eq!(
        session.next_event(),
        Some(Err(SessionError::Version { peer }))
    );
    check(
        bytes,
        &[(0x6478_696f, peer)],
        async |d| {
            let magic = d.u64("magic number").await?;
            Ok((magic, Version::from_wire(d.u64("version").await?)))
        },
        |(magic, version), e| {
            e.u64(*magic);
            e.u64(version.to_wire());
        },
    );
}

pub(crate) fn derived_paths_1_29(bytes: &[u8]) {
    let expected = [
        opaque(FOO),
        built(BAR_DRV, &[]),
        built(BAR_DRV, &["x", "y"]),
    ];
    derived_paths(bytes, &plain(29), &expected);
}

pub(crate) fn derived_paths_1_30(bytes: &[u8]) {
    let expected = [
        opaque(FOO),
        opaque(FOO_DRV),
        built(BAR_DRV, &[]),
        built(BAR_DRV, &["x", "y"]),
    ];
    derived_paths(bytes, &plain(30), &expected);
}

pub(crate) fn opaque(base_name: &str) -> DerivedPath {
    DerivedPath::Opaque(path(base_name))
}

pub(crate) fn built(base_name: &str, outputs: &[&str]) -> DerivedPath {
    DerivedPath::Built {
        drv_path: SingleDerivedPath::Opaque(path(base_name)),
        outputs: words(outputs),
    }
}

pub(crate) fn derived_paths(bytes: &[u8], dialect: &Dialect, expected: &[DerivedPath]) {
    check(
        bytes,
        expected,
        async |d| derived_path::decode(dialect, d).await,
        |path, e| derived_path::encode(path, dialect, e),
    );
}

pub(crate) fn path_infos(bytes: &[u8]) {
    let foo_y = "g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo";
    let ca_path = "n5wkd9frr45pa74if5gpz9j7mifg27fh-foo";
    let info = |base_name| {
        let hash = sri("sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=");
        PathInfo {
            path: path(base_name),
            deriver: None,
            nar_hash: NarHash(hash.digest_as_bytes().try_into().unwrap()),
            nar_size: 34878,
            references: BTreeSet::new(),
            registration_time: 23423,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        }
    };
    let expected = [
        PathInfo {
            ultimate: true,
            ..info(BAR)
        },
        PathInfo {
            deriver: Some(path(BAR_DRV)),
            references: BTreeSet::from([path(BAR), path(foo_y)]),
            signatures: BTreeSet::from([signature("fake-sig-1"), signature("fake-sig-2")]),
            ..info(BAR)
        },
        PathInfo {
            references: BTreeSet::from([path(BAR), path(ca_path)]),
            ca: Some(nar_ca()),
            ..info(ca_path)
        },
    ];
    check(
        bytes,
        &expected,
        async |d| path_info::decode(d).await,
        path_info::encode,
    );
}

/// The form before 1.16, which no version spoken here has: it ends with the
/// NAR's size.
pub(crate) fn old_path_infos(
    bytes: &[u8],
    keyed: bool,
    expected: &[(Option<StorePath>, &[StorePath])],
) {
    let hash = "15e3c560894cbb27085cf65b5a2ecb18488c999497f4531b6907a7581ce6d527";
    check(
        bytes,
        &expected
            .iter()
            .map(|(deriver, references)| (deriver.clone(), references.to_vec()))
            .collect::<Vec<_>>(),
        async |d| {
            if keyed {
                assert_eq!(d.path("path").await?, path(BAR));
            }
            let deriver = d.optional_path("deriver").await?;
            let hash = d.nar_hash("NAR hash").await?;
            let references = d.paths("references").await?;
            assert_eq!(hash.0[..2], [0x15, 0xe3]);
            assert_eq!(d.u64("registration time").await?, 23423);
            assert_eq!(d.u64("NAR size").await?, 34878);
            Ok((deriver, references))
        },
        |(deriver, references), e| {
            if keyed {
                e.path(&path(BAR));
            }
            e.optional_path(deriver.as_ref());
            e.string(hash);
            e.paths(references);
            e.u64(23423);
            e.u64(34878);
        },
    );
}

pub(crate) fn unkeyed_path_infos_1_15(bytes: &[u8]) {
    let reference = path("g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo.drv");
    let expected = [(None, &[][..]), (Some(path(BAR_DRV)), &[reference])];
    old_path_infos(bytes, false, &expected);
}

pub(crate) fn path_infos_1_15(bytes: &[u8]) {
    let references = [path(BAR), path("g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo")];
    let expected = [(None, &[][..]), (Some(path(BAR_DRV)), &references)];
    old_path_infos(bytes, true, &expected);
}
