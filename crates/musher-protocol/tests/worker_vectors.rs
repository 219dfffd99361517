//! What Nix's own tests expect on the wire of the worker protocol.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use musher_protocol::types::{
    BuildMode, BuildResult, BuildStatus, BuiltOutput, DrvHashOutput, NarHash, PathInfo, Text,
};
use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use musher_protocol::worker::{
    ClientConfig, ClientSession, Dialect, Feature, OutputId, Realisation, Request, ServerInfo,
    SessionError, Trust, Version, build_result, derived_path, path_info,
};
use nix_derivation::{CAHash, DerivedPath, DrvOutput, NixHash, SingleDerivedPath};
use nix_derivation::{StoreDir, StorePath};

/// Decodes `bytes` to the values expected, one behind the other.
#[track_caller]
fn reads<T: PartialEq + Debug>(
    bytes: &[u8],
    expected: &[T],
    mut decoder: impl AsyncFnMut(&mut Decoder) -> Result<T, DecodeError>,
) {
    let values = decode(bytes, &StoreDir::default(), async |d| {
        let mut values = Vec::new();
        for _ in expected {
            values.push(decoder(d).await?);
        }
        Ok(values)
    });
    assert_eq!(values.unwrap(), expected);
}

/// As [`reads`], and encodes the values back to `bytes`.
#[track_caller]
fn check<T: PartialEq + Debug>(
    bytes: &[u8],
    expected: &[T],
    decoder: impl AsyncFnMut(&mut Decoder) -> Result<T, DecodeError>,
    encoder: impl Fn(&T, &mut Encoder),
) {
    reads(bytes, expected, decoder);
    let mut e = Encoder::new(StoreDir::default());
    for value in expected {
        encoder(value, &mut e);
    }
    assert_eq!(e.take(), bytes, "{expected:?} is not as it was");
}

/// As [`check`], for one request's arguments.
#[track_caller]
fn check_request(bytes: &[u8], dialect: &Dialect, expected: &Request) {
    let bytes = [&expected.op().number().to_le_bytes()[..], bytes].concat();
    check(
        &bytes,
        std::slice::from_ref(expected),
        async |d| Request::decode(dialect, d).await,
        |request, e| request.encode(dialect, e).unwrap(),
    );
}

fn plain(minor: u8) -> Dialect {
    Dialect::plain(Version::minor(minor))
}

fn by_path() -> Dialect {
    Dialect {
        version: Version::MAX,
        features: BTreeSet::from([Feature::RealisationWithPath]),
    }
}

fn path(base_name: &str) -> StorePath {
    StorePath::from_basename(base_name.as_bytes()).unwrap()
}

fn signature(key: &str) -> String {
    format!("{key}:{}==", "A".repeat(86))
}

const FOO: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo";
const BAR: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar";
const FOO_BAR: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo-bar";
const FOO_DRV: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv";
const BAR_DRV: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv";
const HASH_A: &str = "sha256:15e3c560894cbb27085cf65b5a2ecb18488c999497f4531b6907a7581ce6d527";
const HASH_B: &str = "sha256:6f869f9ea2823bda165e06076fd0de4366dead2c0e8d2dbbad277d4f15c373f5";

fn words(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn string(bytes: &[u8]) {
    check(
        bytes,
        &words(&["", "hi", "white rabbit", "大白兔", "oh no "]),
        async |d| d.short("string").await,
        |value, e| e.string(value),
    );
}

fn vector(bytes: &[u8]) {
    let (flat, nested) = lists();
    check(
        bytes,
        &[(flat, nested)],
        async |d| {
            let mut flat = Vec::new();
            for _ in 0..3 {
                flat.push(d.strings("list").await?);
            }
            let mut nested = Vec::new();
            for _ in 0..d.count("lists").await? {
                nested.push(d.strings("list").await?);
            }
            Ok((flat, nested))
        },
        |(flat, nested), e| {
            flat.iter().for_each(|list| e.strings(list));
            e.count(nested.len());
            nested.iter().for_each(|list| e.strings(list));
        },
    );
}

fn lists() -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    (
        vec![words(&[]), words(&[""]), words(&["", "foo", "bar"])],
        vec![words(&[]), words(&[""]), words(&["", "1", "2"])],
    )
}

fn set(bytes: &[u8]) {
    let sets = |lists: Vec<Vec<String>>| -> Vec<BTreeSet<String>> {
        lists.into_iter().map(BTreeSet::from_iter).collect()
    };
    let (flat, nested) = lists();
    let nested: BTreeSet<BTreeSet<String>> = sets(nested).into_iter().collect();
    check(
        bytes,
        &[(sets(flat), nested)],
        async |d| {
            let mut flat = Vec::new();
            for _ in 0..3 {
                flat.push(d.strings("set").await?);
            }
            let mut nested = BTreeSet::new();
            for _ in 0..d.count("sets").await? {
                nested.insert(d.strings("set").await?);
            }
            Ok((flat, nested))
        },
        |(flat, nested), e| {
            flat.iter().for_each(|set| e.strings(set));
            e.count(nested.len());
            nested.iter().for_each(|set| e.strings(set));
        },
    );
}

fn store_path(bytes: &[u8]) {
    check(
        bytes,
        &[path(FOO), path(FOO_BAR)],
        async |d| d.path("path").await,
        |value, e| e.path(value),
    );
}

fn optional_store_path(bytes: &[u8]) {
    check(
        bytes,
        &[None, Some(path(FOO_BAR))],
        async |d| d.optional_path("path").await,
        |value, e| e.optional_path(value.as_ref()),
    );
}

fn sri(hash: &str) -> NixHash {
    NixHash::parse(hash).unwrap()
}

fn nar_ca() -> CAHash {
    CAHash::Nar(sri("sha256-EMIJ+giQ/gLIWoxmPKjno3zHZrxbGymgzGGyZvZBIdM="))
}

fn flat_ca() -> CAHash {
    CAHash::Flat(sri("sha1-gGemBoenViNZM3hiwqns/Fgzqwo="))
}

fn content_address(bytes: &[u8]) {
    let NixHash::Sha256(text) = sri("sha256-+Xc9Ll6mcPltwaewrk/BAQ56Y3G5T//wzhKUc0zrYu0=") else {
        panic!("the hash is a SHA-256 one");
    };
    check(
        bytes,
        &[CAHash::Text(text), flat_ca(), nar_ca()],
        async |d| d.content_address("content address").await,
        |value, e| e.content_address(value),
    );
}

fn optional_content_address(bytes: &[u8]) {
    check(
        bytes,
        &[None, Some(flat_ca())],
        async |d| d.optional_content_address("content address").await,
        |value, e| e.optional_content_address(value.as_ref()),
    );
}

fn build_mode(bytes: &[u8]) {
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

fn trusted_flag(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    assert_eq!((words.len(), rest.len()), (3, 0));
    let trusts = [None, Some(Trust::Trusted), Some(Trust::NotTrusted)];
    for (word, trust) in words.iter().zip(trusts) {
        let bytes = [0_u64.to_le_bytes(), *word].concat();
        server_info(&bytes, 35, &[("", trust)]);
    }
}

fn server_info(bytes: &[u8], minor: u8, expected: &[(&str, Option<Trust>)]) {
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
fn handshake_to_client(bytes: &[u8]) {
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

fn derived_paths_1_29(bytes: &[u8]) {
    let expected = [
        opaque(FOO),
        built(BAR_DRV, &[]),
        built(BAR_DRV, &["x", "y"]),
    ];
    derived_paths(bytes, &plain(29), &expected);
}

fn derived_paths_1_30(bytes: &[u8]) {
    let expected = [
        opaque(FOO),
        opaque(FOO_DRV),
        built(BAR_DRV, &[]),
        built(BAR_DRV, &["x", "y"]),
    ];
    derived_paths(bytes, &plain(30), &expected);
}

fn opaque(base_name: &str) -> DerivedPath {
    DerivedPath::Opaque(path(base_name))
}

fn built(base_name: &str, outputs: &[&str]) -> DerivedPath {
    DerivedPath::Built {
        drv_path: SingleDerivedPath::Opaque(path(base_name)),
        outputs: words(outputs),
    }
}

fn derived_paths(bytes: &[u8], dialect: &Dialect, expected: &[DerivedPath]) {
    check(
        bytes,
        expected,
        async |d| derived_path::decode(dialect, d).await,
        |path, e| derived_path::encode(path, dialect, e),
    );
}

fn path_infos(bytes: &[u8]) {
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

fn output(drv_hash: Option<&str>, base_name: &str) -> BuiltOutput {
    BuiltOutput {
        drv_hash: drv_hash.map(str::to_owned),
        path: path(base_name),
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    }
}

/// The three results of every vector, without what later versions added.
fn oldest_results() -> [BuildResult; 3] {
    [
        BuildResult::new(BuildStatus::OutputRejected, "no idea why"),
        BuildResult::new(BuildStatus::NotDeterministic, "no idea why"),
        BuildResult::new(BuildStatus::Built, ""),
    ]
}

fn with_outputs(results: &mut [BuildResult; 3], drv_hash: Option<&str>) {
    results[2].built_outputs = BTreeMap::from([
        ("bar".to_owned(), output(drv_hash, BAR)),
        ("foo".to_owned(), output(drv_hash, FOO)),
    ]);
}

fn with_times(results: &mut [BuildResult; 3]) {
    for (result, times_built) in results[1..].iter_mut().zip([3, 1]) {
        result.times_built = times_built;
        result.start = 30;
        result.stop = 50;
    }
    results[1].non_deterministic = true;
}

fn with_cpu(results: &mut [BuildResult; 3]) {
    results[2].cpu_user = Some(500_000_000);
    results[2].cpu_system = Some(604_000_000);
}

fn build_results(bytes: &[u8], dialect: &Dialect, expected: &[BuildResult]) {
    check(
        bytes,
        expected,
        async |d| build_result::decode(dialect, d).await,
        |result, e| build_result::encode(result, dialect, e),
    );
}

fn build_results_1_27(bytes: &[u8]) {
    build_results(bytes, &plain(27), &oldest_results());
}

fn build_results_1_28(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    build_results(bytes, &plain(28), &results);
}

fn build_results_1_29(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    with_times(&mut results);
    build_results(bytes, &plain(29), &results);
}

fn build_results_1_29_compat(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, None);
    with_times(&mut results);
    build_results(bytes, &plain(29), &results);
}

fn build_results_1_37(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    with_times(&mut results);
    with_cpu(&mut results);
    build_results(bytes, &plain(37), &results);
}

fn build_results_by_path(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, None);
    with_times(&mut results);
    with_cpu(&mut results);
    build_results(bytes, &by_path(), &results);
}

fn keyed_build_results(bytes: &[u8]) {
    let dialect = plain(29);
    let mut results = oldest_results();
    with_times(&mut results);
    let [first, second, _] = results;
    let xxx = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-xxx";
    let expected = [(opaque(xxx), first), (built(BAR_DRV, &["out"]), second)];
    check(
        bytes,
        &expected,
        async |d| {
            let path = derived_path::decode(&dialect, d).await?;
            Ok((path, build_result::decode(&dialect, d).await?))
        },
        |(path, result), e| {
            derived_path::encode(path, &dialect, e);
            build_result::encode(result, &dialect, e);
        },
    );
}

fn hash_output(drv_hash: &str, output: &str) -> DrvHashOutput {
    DrvHashOutput {
        drv_hash: drv_hash.to_owned(),
        output: output.to_owned(),
    }
}

fn drv_outputs(bytes: &[u8]) {
    check(
        bytes,
        &[hash_output(HASH_A, "baz"), hash_output(HASH_B, "quux")],
        async |d| d.drv_hash_output("output").await,
        |id, e| e.drv_hash_output(id),
    );
}

fn drv_outputs_by_path(bytes: &[u8]) {
    // Both have the same length.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (bytes, output) in [(first, "baz"), (second, "quux")] {
        let id = OutputId::Path(DrvOutput::new(path(FOO_DRV), output));
        check_request(bytes, &by_path(), &Request::QueryRealisation(id));
    }
}

fn signed_output(drv_hash: Option<&str>) -> BuiltOutput {
    BuiltOutput {
        signatures: BTreeSet::from([signature("asdf"), signature("qwer")]),
        ..output(drv_hash, FOO)
    }
}

fn realisation_by_path(bytes: &[u8]) {
    let id = OutputId::Path(DrvOutput::new(path(FOO_DRV), "baz"));
    let realisation = Realisation::new(id, signed_output(None));
    check_request(bytes, &by_path(), &Request::RegisterDrvOutput(realisation));
}

fn unkeyed_realisation_by_path(bytes: &[u8]) {
    check(
        bytes,
        &[signed_output(None)],
        async |d| d.built_output().await,
        |output, e| e.built_output(output),
    );
}

fn realisations_with_deps(bytes: &[u8]) {
    let output = BuiltOutput {
        dependent_realisations: BTreeMap::from([(hash_output(HASH_B, "quux"), path(FOO))]),
        ..signed_output(Some(HASH_A))
    };
    check(
        bytes,
        &[(hash_output(HASH_A, "baz"), output)],
        async |d| d.realisation_json("realisation").await,
        |(id, output), e| e.realisation_json(&id.output, output),
    );
}

/// The second one's signatures are objects, which only Nix 2.34 and later can
/// read: they are written as strings here, which all can.
fn realisations(bytes: &[u8]) {
    let id = hash_output(HASH_A, "baz");
    let expected = [
        (id.clone(), output(Some(HASH_A), FOO)),
        (id, signed_output(Some(HASH_A))),
    ];
    reads(bytes, &expected, async |d| {
        d.realisation_json("realisation").await
    });
    let mut e = Encoder::new(StoreDir::default());
    e.realisation_json("baz", &expected[0].1);
    let first = e.take();
    assert_eq!(first, bytes[..first.len()]);
}

/// The form before 1.16, which no version spoken here has: it ends with the
/// NAR's size.
fn old_path_infos(bytes: &[u8], keyed: bool, expected: &[(Option<StorePath>, &[StorePath])]) {
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

fn unkeyed_path_infos_1_15(bytes: &[u8]) {
    let reference = path("g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo.drv");
    let expected = [(None, &[][..]), (Some(path(BAR_DRV)), &[reference])];
    old_path_infos(bytes, false, &expected);
}

fn path_infos_1_15(bytes: &[u8]) {
    let references = [path(BAR), path("g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo")];
    let expected = [(None, &[][..]), (Some(path(BAR_DRV)), &references)];
    old_path_infos(bytes, true, &expected);
}

#[test]
fn worker_protocol() {
    vectors::check_folder(
        "worker-protocol",
        &[
            ("build-mode", build_mode),
            ("build-result-1.27", build_results_1_27),
            ("build-result-1.28", build_results_1_28),
            ("build-result-1.29-compat", build_results_1_29_compat),
            ("build-result-1.29", build_results_1_29),
            ("build-result-1.37", build_results_1_37),
            (
                "build-result-realisation-with-path-not-hash",
                build_results_by_path,
            ),
            ("client-handshake-info_1_30", |bytes| {
                server_info(bytes, 30, &[("", None), ("", None)]);
            }),
            ("client-handshake-info_1_33", |bytes| {
                server_info(bytes, 33, &[("foo", None), ("bar", None)]);
            }),
            ("client-handshake-info_1_35", |bytes| {
                let distrust = ("foo", Some(Trust::NotTrusted));
                server_info(bytes, 35, &[distrust, ("bar", Some(Trust::Trusted))]);
            }),
            ("content-address", content_address),
            ("derived-path-1.29", derived_paths_1_29),
            ("derived-path-1.30", derived_paths_1_30),
            (
                "drv-output-realisation-with-path-not-hash",
                drv_outputs_by_path,
            ),
            ("drv-output", drv_outputs),
            ("handshake-to-client", handshake_to_client),
            ("keyed-build-result-1.29", keyed_build_results),
            ("optional-content-address", optional_content_address),
            ("optional-store-path", optional_store_path),
            ("optional-trusted-flag", trusted_flag),
            (
                "realisation-realisation-with-path-not-hash",
                realisation_by_path,
            ),
            ("realisation-with-deps", realisations_with_deps),
            ("realisation", realisations),
            ("set", set),
            ("store-path", store_path),
            ("string", string),
            (
                "unkeyed-realisation-realisation-with-path-not-hash",
                unkeyed_realisation_by_path,
            ),
            ("unkeyed-valid-path-info-1.15", unkeyed_path_infos_1_15),
            ("valid-path-info-1.15", path_infos_1_15),
            ("valid-path-info-1.16", path_infos),
            ("vector", vector),
        ],
    );
}

#[test]
fn common_protocol() {
    vectors::check_folder(
        "common-protocol",
        &[
            ("content-address", content_address),
            ("drv-output", drv_outputs),
            ("optional-content-address", optional_content_address),
            ("optional-store-path", optional_store_path),
            ("realisation-with-deps", realisations_with_deps),
            ("realisation", realisations),
            ("set", set),
            ("store-path", store_path),
            ("string", string),
            ("vector", vector),
        ],
    );
}
