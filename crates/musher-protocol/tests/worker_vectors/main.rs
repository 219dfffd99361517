//! What Nix's own tests expect on the wire of the worker protocol.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod messages;
mod primitives;
mod results;

#[path = "../common/vectors.rs"]
mod vectors;

use std::collections::BTreeSet;
use std::fmt::Debug;

use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use musher_protocol::worker::{Dialect, Feature, Request, Trust, Version};
use nix_derivation::{StoreDir, StorePath};

/// Decodes `bytes` to the values expected, one behind the other.
#[track_caller]
pub(crate) fn reads<T: PartialEq + Debug>(
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
pub(crate) fn check<T: PartialEq + Debug>(
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
pub(crate) fn check_request(bytes: &[u8], dialect: &Dialect, expected: &Request) {
    let bytes = [&expected.op().number().to_le_bytes()[..], bytes].concat();
    check(
        &bytes,
        std::slice::from_ref(expected),
        async |d| Request::decode(dialect, d).await,
        |request, e| request.encode(dialect, e).unwrap(),
    );
}

pub(crate) fn plain(minor: u8) -> Dialect {
    Dialect::plain(Version::minor(minor))
}

pub(crate) fn by_path() -> Dialect {
    Dialect {
        version: Version::MAX,
        features: BTreeSet::from([Feature::RealisationWithPath]),
    }
}

pub(crate) fn path(base_name: &str) -> StorePath {
    StorePath::from_basename(base_name.as_bytes()).unwrap()
}

pub(crate) fn signature(key: &str) -> String {
    format!("{key}:{}==", "A".repeat(86))
}

pub(crate) const FOO: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo";
pub(crate) const BAR: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar";
pub(crate) const FOO_BAR: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo-bar";
pub(crate) const FOO_DRV: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv";
pub(crate) const BAR_DRV: &str = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv";
pub(crate) const HASH_A: &str =
    "sha256:15e3c560894cbb27085cf65b5a2ecb18488c999497f4531b6907a7581ce6d527";
pub(crate) const HASH_B: &str =
    "sha256:6f869f9ea2823bda165e06076fd0de4366dead2c0e8d2dbbad277d4f15c373f5";

#[test]
fn worker_protocol() {
    vectors::check_folder(
        "worker-protocol",
        &[
            ("build-mode", messages::build_mode),
            ("build-result-1.27", results::build_results_1_27),
            ("build-result-1.28", results::build_results_1_28),
            (
                "build-result-1.29-compat",
                results::build_results_1_29_compat,
            ),
            ("build-result-1.29", results::build_results_1_29),
            ("build-result-1.37", results::build_results_1_37),
            (
                "build-result-realisation-with-path-not-hash",
                results::build_results_by_path,
            ),
            ("client-handshake-info_1_30", |bytes| {
                messages::server_info(bytes, 30, &[("", None), ("", None)]);
            }),
            ("client-handshake-info_1_33", |bytes| {
                messages::server_info(bytes, 33, &[("foo", None), ("bar", None)]);
            }),
            ("client-handshake-info_1_35", |bytes| {
                let distrust = ("foo", Some(Trust::NotTrusted));
                messages::server_info(bytes, 35, &[distrust, ("bar", Some(Trust::Trusted))]);
            }),
            ("content-address", primitives::content_address),
            ("derived-path-1.29", messages::derived_paths_1_29),
            ("derived-path-1.30", messages::derived_paths_1_30),
            (
                "drv-output-realisation-with-path-not-hash",
                results::drv_outputs_by_path,
            ),
            ("drv-output", results::drv_outputs),
            ("handshake-to-client", messages::handshake_to_client),
            ("keyed-build-result-1.29", results::keyed_build_results),
            (
                "optional-content-address",
                primitives::optional_content_address,
            ),
            ("optional-store-path", primitives::optional_store_path),
            ("optional-trusted-flag", messages::trusted_flag),
            (
                "realisation-realisation-with-path-not-hash",
                results::realisation_by_path,
            ),
            ("realisation-with-deps", results::realisations_with_deps),
            ("realisation", results::realisations),
            ("set", primitives::set),
            ("store-path", primitives::store_path),
            ("string", primitives::string),
            (
                "unkeyed-realisation-realisation-with-path-not-hash",
                results::unkeyed_realisation_by_path,
            ),
            (
                "unkeyed-valid-path-info-1.15",
                messages::unkeyed_path_infos_1_15,
            ),
            ("valid-path-info-1.15", messages::path_infos_1_15),
            ("valid-path-info-1.16", messages::path_infos),
            ("vector", primitives::vector),
        ],
    );
}

#[test]
fn common_protocol() {
    vectors::check_folder(
        "common-protocol",
        &[
            ("content-address", primitives::content_address),
            ("drv-output", results::drv_outputs),
            (
                "optional-content-address",
                primitives::optional_content_address,
            ),
            ("optional-store-path", primitives::optional_store_path),
            ("realisation-with-deps", results::realisations_with_deps),
            ("realisation", results::realisations),
            ("set", primitives::set),
            ("store-path", primitives::store_path),
            ("string", primitives::string),
            ("vector", primitives::vector),
        ],
    );
}
