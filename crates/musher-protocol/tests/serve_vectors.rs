//! What Nix's own tests expect on the wire of the serve protocol.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use musher_protocol::serve::{
    BuildOptions, ClientEvent, ClientSession, Config, Negotiated, Version, build_result, path_info,
};
use musher_protocol::types::{
    BuildResult, BuildStatus, BuiltOutput, DrvHashOutput, NarHash, PathInfo,
};
use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use nix_derivation::{CAHash, NixHash, StoreDir, StorePath};

/// Decodes `bytes` to `expected`, and encodes that back to `bytes`.
#[track_caller]
fn check<T: PartialEq + Debug>(
    bytes: &[u8],
    expected: &T,
    decoder: impl AsyncFnOnce(&mut Decoder) -> Result<T, DecodeError>,
    encoder: impl FnOnce(&T, &mut Encoder),
) {
    let value = decode(bytes, &StoreDir::default(), decoder).unwrap();
    assert_eq!(&value, expected);
    assert_eq!(
        encoded(&value, encoder),
        bytes,
        "{value:?} is not as it was"
    );
}

fn encoded<T>(value: &T, encoder: impl FnOnce(&T, &mut Encoder)) -> Vec<u8> {
    let mut e = Encoder::new(StoreDir::default());
    encoder(value, &mut e);
    e.take().to_vec()
}

/// As [`check`], for several values behind each other.
#[track_caller]
fn check_each<T: PartialEq + Debug>(
    bytes: &[u8],
    expected: &[T],
    mut decoder: impl AsyncFnMut(&mut Decoder) -> Result<T, DecodeError>,
    encoder: impl Fn(&T, &mut Encoder),
) {
    let values = decode(bytes, &StoreDir::default(), async |d| {
        let mut values = Vec::new();
        for _ in expected {
            values.push(decoder(d).await?);
        }
        Ok(values)
    });
    assert_eq!(values.unwrap(), expected);
    let again = encoded(&expected, |values, e| {
        values.iter().for_each(|value| encoder(value, e));
    });
    assert_eq!(again, bytes, "{expected:?} is not as it was");
}

fn path(base_name: &str) -> StorePath {
    StorePath::from_basename(base_name.as_bytes()).unwrap()
}

fn signature(key: &str) -> String {
    format!("{key}:{}==", "A".repeat(86))
}

fn unsigned_output(drv_hash: Option<&str>, base_name: &str) -> BuiltOutput {
    BuiltOutput {
        drv_hash: drv_hash.map(str::to_owned),
        path: path(base_name),
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    }
}

const FOO: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo";
const FOO_DRV: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv";
const FOO_BAR: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo-bar";
const HASH_A: &str = "sha256:15e3c560894cbb27085cf65b5a2ecb18488c999497f4531b6907a7581ce6d527";
const HASH_B: &str = "sha256:6f869f9ea2823bda165e06076fd0de4366dead2c0e8d2dbbad277d4f15c373f5";

fn text(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn string(bytes: &[u8]) {
    check_each(
        bytes,
        &text(&["", "hi", "white rabbit", "大白兔", "oh no "]),
        async |d| d.short("string").await,
        |value, e| e.string(value),
    );
}

fn store_path(bytes: &[u8]) {
    check_each(
        bytes,
        &[path(FOO), path(FOO_BAR)],
        async |d| d.path("path").await,
        |value, e| e.path(value),
    );
}

fn optional_store_path(bytes: &[u8]) {
    check_each(
        bytes,
        &[None, Some(path(FOO_BAR))],
        async |d| d.optional_path("path").await,
        |value, e| e.optional_path(value.as_ref()),
    );
}

fn content_addresses() -> Vec<CAHash> {
    let addresses = [
        "text:sha256:1vb2xd67750jrvqgykxrf5ipl3h1q57sxc57q5nzjw56bqp3sxzr",
        "fixed:sha1:1amk6n7wxjlw4qkq6dcj6mm7hw3acrw0",
        "fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
    ];
    addresses.map(|it| it.parse().unwrap()).into()
}

fn content_address(bytes: &[u8]) {
    check_each(
        bytes,
        &content_addresses(),
        async |d| d.content_address("content address").await,
        |value, e| e.content_address(value),
    );
}

fn optional_content_address(bytes: &[u8]) {
    let sha1 = content_addresses().swap_remove(1);
    check_each(
        bytes,
        &[None, Some(sha1)],
        async |d| d.optional_content_address("content address").await,
        |value, e| e.optional_content_address(value.as_ref()),
    );
}

fn set(bytes: &[u8]) {
    let outer = [&[][..], &[""], &["", "1", "2"]];
    collections::<BTreeSet<String>>(bytes, [&[], &[""], &["", "bar", "foo"]], outer);
}

fn vector(bytes: &[u8]) {
    let outer = [&[][..], &[""], &["", "1", "2"]];
    collections::<Vec<String>>(bytes, [&[], &[""], &["", "foo", "bar"]], outer);
}

/// Three collections of strings, and a collection of three more.
fn collections<C>(bytes: &[u8], flat: [&[&str]; 3], nested: [&[&str]; 3])
where
    C: Default + Extend<String> + FromIterator<String> + PartialEq + Debug,
    for<'a> &'a C: IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>,
{
    let collect = |values: &[&str]| text(values).into_iter().collect::<C>();
    let expected = (flat.map(collect).into(), nested.map(collect).into());
    let three = async |d: &mut Decoder| {
        let mut all: Vec<C> = Vec::new();
        for _ in 0..3 {
            all.push(d.strings("strings").await?);
        }
        Ok(all)
    };
    check(
        bytes,
        &expected,
        async |d| {
            let flat = three(d).await?;
            assert_eq!(d.count("collections").await?, 3);
            Ok((flat, three(d).await?))
        },
        |(flat, nested): &(Vec<C>, Vec<C>), e| {
            flat.iter().for_each(|strings| e.strings(strings));
            e.count(nested.len());
            nested.iter().for_each(|strings| e.strings(strings));
        },
    );
}

fn drv_output(bytes: &[u8]) {
    let id = |hash: &str, output: &str| DrvHashOutput {
        drv_hash: hash.to_owned(),
        output: output.to_owned(),
    };
    check_each(
        bytes,
        &[id(HASH_A, "baz"), id(HASH_B, "quux")],
        async |d| d.drv_hash_output("output").await,
        |value, e| e.drv_hash_output(value),
    );
}

fn signed() -> BuiltOutput {
    BuiltOutput {
        signatures: [signature("asdf"), signature("qwer")].into(),
        ..unsigned_output(Some(HASH_A), FOO)
    }
}

/// The second value has its signatures as objects, which we read and never
/// write: no Nix before 2.34 could read them back. So it alone does not come
/// out as it went in.
fn realisation(bytes: &[u8]) {
    let values = decode(bytes, &StoreDir::default(), async |d| {
        let first = d.realisation_json("realisation").await?;
        let second = d.realisation_json("realisation").await?;
        Ok([first, second])
    });
    let [(first_id, first), (second_id, second)] = values.unwrap();
    assert_eq!(first_id.output, "baz");
    assert_eq!(first_id, second_id);
    assert_eq!(first, unsigned_output(Some(HASH_A), FOO));
    assert_eq!(second, signed());
    let again = encoded(&first, |value, e| e.realisation_json("baz", value));
    assert_eq!(bytes[..again.len()], again);
    let again = encoded(&second, |value, e| e.realisation_json("baz", value));
    let (_, read_again) = decode(&again, &StoreDir::default(), async |d| {
        d.realisation_json("realisation").await
    })
    .unwrap();
    assert_eq!(read_again, second);
}

fn realisation_with_deps(bytes: &[u8]) {
    let id = DrvHashOutput {
        drv_hash: HASH_B.to_owned(),
        output: "quux".to_owned(),
    };
    let expected = BuiltOutput {
        dependent_realisations: [(id, path(FOO))].into(),
        ..signed()
    };
    check(
        bytes,
        &expected,
        async |d| Ok(d.realisation_json("realisation").await?.1),
        |value, e| e.realisation_json("baz", value),
    );
}

fn drv_output_by_path(bytes: &[u8]) {
    check_each(
        bytes,
        &[
            (path(FOO_DRV), "baz".into()),
            (path(FOO_DRV), "quux".into()),
        ],
        async |d| Ok((d.path("derivation").await?, d.short("output").await?)),
        |(drv, output), e| {
            e.path(drv);
            e.string(output);
        },
    );
}

fn signed_by_path() -> BuiltOutput {
    BuiltOutput {
        drv_hash: None,
        ..signed()
    }
}

fn unkeyed_realisation(bytes: &[u8]) {
    check(
        bytes,
        &signed_by_path(),
        async |d| d.built_output().await,
        |value, e| e.built_output(value),
    );
}

fn realisation_by_path(bytes: &[u8]) {
    check(
        bytes,
        &(path(FOO_DRV), "baz".to_owned(), signed_by_path()),
        async |d| {
            let drv = d.path("derivation").await?;
            Ok((drv, d.short("output").await?, d.built_output().await?))
        },
        |(drv, output, built), e| {
            e.path(drv);
            e.string(output);
            e.built_output(built);
        },
    );
}

#[track_caller]
fn options(bytes: &[u8], minor: u8, expected: BuildOptions) {
    let version = Version::new(minor);
    check(
        bytes,
        &expected,
        async |d| BuildOptions::decode(d, version).await,
        |value, e| value.encode(e, version),
    );
}

const OPTIONS: BuildOptions = BuildOptions {
    max_silent: 5,
    timeout: 6,
    max_log_size: 0,
    nr_repeats: 0,
    enforce_determinism: false,
    keep_failed: false,
};

fn options_1(bytes: &[u8]) {
    options(bytes, 1, OPTIONS);
}

fn options_2(bytes: &[u8]) {
    let max_log_size = 7;
    options(
        bytes,
        2,
        BuildOptions {
            max_log_size,
            ..OPTIONS
        },
    );
}

fn options_3(bytes: &[u8]) {
    let expected = BuildOptions {
        max_log_size: 7,
        nr_repeats: 8,
        enforce_determinism: true,
        ..OPTIONS
    };
    options(bytes, 3, expected);
}

fn options_7(bytes: &[u8]) {
    let expected = BuildOptions {
        max_log_size: 7,
        nr_repeats: 8,
        keep_failed: true,
        ..OPTIONS
    };
    options(bytes, 7, expected);
}

#[track_caller]
fn results(bytes: &[u8], minor: u8, expected: &[BuildResult]) {
    let version = Version::new(minor);
    check_each(
        bytes,
        expected,
        async |d| build_result::decode(d, version).await,
        |value, e| build_result::encode(value, e, version),
    );
}

/// The three results of the vectors from 2.3 on.
fn timed_results(times_built: u64, outputs: &[(&str, BuiltOutput)]) -> Vec<BuildResult> {
    let timed = |status, error: &str| BuildResult {
        start: 30,
        stop: 50,
        ..BuildResult::new(status, error)
    };
    vec![
        BuildResult::new(BuildStatus::OutputRejected, "no idea why"),
        BuildResult {
            times_built: 3,
            non_deterministic: true,
            ..timed(BuildStatus::NotDeterministic, "no idea why")
        },
        BuildResult {
            times_built,
            built_outputs: outputs
                .iter()
                .map(|(name, output)| ((*name).to_owned(), output.clone()))
                .collect(),
            ..timed(BuildStatus::Built, "")
        },
    ]
}

fn result_2(bytes: &[u8]) {
    let expected = [
        BuildResult::new(BuildStatus::OutputRejected, "no idea why"),
        BuildResult::new(BuildStatus::NotDeterministic, "no idea why"),
        BuildResult::new(BuildStatus::Built, ""),
    ];
    results(bytes, 2, &expected);
}

fn result_3(bytes: &[u8]) {
    results(bytes, 3, &timed_results(0, &[]));
}

fn foo_and_bar(drv_hash: Option<&str>) -> [(&'static str, BuiltOutput); 2] {
    let bar = unsigned_output(drv_hash, "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar");
    [("foo", unsigned_output(drv_hash, FOO)), ("bar", bar)]
}

fn result_6(bytes: &[u8]) {
    results(bytes, 6, &timed_results(1, &foo_and_bar(Some(HASH_B))));
}

fn result_7_compat(bytes: &[u8]) {
    results(bytes, 7, &timed_results(1, &foo_and_bar(None)));
}

fn result_8(bytes: &[u8]) {
    results(bytes, 8, &timed_results(1, &foo_and_bar(None)));
}

/// No vector says which path an info is of.
fn unkeyed_infos(bytes: &[u8], minor: u8, expected: &[PathInfo]) {
    let version = Version::new(minor);
    check_each(
        bytes,
        expected,
        async |d| path_info::decode_unkeyed(d, version, path(FOO)).await,
        |value, e| path_info::encode_unkeyed(value, e, version),
    );
}

fn bare_info() -> PathInfo {
    PathInfo {
        path: path(FOO),
        deriver: None,
        nar_hash: NarHash([0; 32]),
        nar_size: 34878,
        references: BTreeSet::new(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

fn derived_info() -> PathInfo {
    PathInfo {
        deriver: Some(path("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv")),
        references: [path("g1w7hyyyy1w7hy3qg1w7hy3qgqqqqy3q-foo.drv")].into(),
        ..bare_info()
    }
}

fn unkeyed_info_3(bytes: &[u8]) {
    unkeyed_infos(bytes, 3, &[bare_info(), derived_info()]);
}

fn unkeyed_info_4(bytes: &[u8]) {
    let Ok(NixHash::Sha256(digest)) = NixHash::parse(HASH_A) else {
        panic!("{HASH_A} is no digest");
    };
    let hashed = PathInfo {
        nar_hash: NarHash(digest),
        ..derived_info()
    };
    let addressed = PathInfo {
        references: [
            path("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"),
            path("n5wkd9frr45pa74if5gpz9j7mifg27fh-foo"),
        ]
        .into(),
        signatures: [signature("fake-sig-1"), signature("fake-sig-2")].into(),
        ca: content_addresses().pop(),
        ..hashed.clone()
    };
    unkeyed_infos(bytes, 4, &[hashed, addressed]);
}

/// What a server of 2.5 says first.
fn handshake_to_client(bytes: &[u8]) {
    let mut client = ClientSession::new(Config::new(StoreDir::default()));
    client.receive(bytes);
    let version = Version::new(5);
    let ready = ClientEvent::Ready(Negotiated { version });
    assert_eq!(client.next_event(), Some(Ok(ready)));
    assert_eq!(client.next_event(), None);

    let config = Config {
        max_version: version,
        ..Config::new(StoreDir::default())
    };
    let mut server = musher_protocol::serve::ServerSession::new(config);
    server.receive(&client.take_output());
    assert!(matches!(server.next_event(), Some(Ok(_))));
    assert_eq!(server.take_output(), bytes);
}

const COMMON: [vectors::Check; 10] = [
    ("content-address", content_address),
    ("drv-output", drv_output),
    ("optional-content-address", optional_content_address),
    ("optional-store-path", optional_store_path),
    ("realisation", realisation),
    ("realisation-with-deps", realisation_with_deps),
    ("set", set),
    ("store-path", store_path),
    ("string", string),
    ("vector", vector),
];

const SERVE: [vectors::Check; 15] = [
    ("build-options-2.1", options_1),
    ("build-options-2.2", options_2),
    ("build-options-2.3", options_3),
    ("build-options-2.7", options_7),
    ("build-result-2.2", result_2),
    ("build-result-2.3", result_3),
    ("build-result-2.6", result_6),
    ("build-result-2.7-compat", result_7_compat),
    ("build-result-2.8", result_8),
    ("drv-output-2.8", drv_output_by_path),
    ("handshake-to-client", handshake_to_client),
    ("realisation-2.8", realisation_by_path),
    ("unkeyed-realisation-2.8", unkeyed_realisation),
    ("unkeyed-valid-path-info-2.3", unkeyed_info_3),
    ("unkeyed-valid-path-info-2.4", unkeyed_info_4),
];

#[test]
fn common_protocol() {
    vectors::check_folder("common-protocol", &COMMON);
}

#[test]
fn serve_protocol() {
    vectors::check_folder("serve-protocol", &[&COMMON[..], &SERVE[..]].concat());
}
