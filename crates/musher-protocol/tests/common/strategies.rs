//! Arbitrary values of the types that both protocols carry.

use std::collections::BTreeMap;

use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildResult, BuildStatus, BuiltOutput, DrvHashOutput, NarHash,
    PathInfo, Text,
};
use nix_derivation::{CAHash, NixHash, StorePath};
use proptest::array::{uniform20, uniform32};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};

/// A store path.
pub(crate) fn path() -> impl Strategy<Value = StorePath> + Clone {
    (
        uniform20(any::<u8>()),
        "[a-zA-Z0-9+_?=][a-zA-Z0-9+_?=.-]{0,20}",
    )
        .prop_map(|(digest, name)| {
            StorePath::from_parts(digest, &name).expect("the pattern has valid names only")
        })
}

/// What a store knows about a path.
pub(crate) fn path_info() -> impl Strategy<Value = PathInfo> {
    let identity = (path(), uniform32(any::<u8>()), any::<u64>());
    let origin = (
        option::of(path()),
        btree_set(path(), 0..3),
        any::<u64>(),
        any::<bool>(),
    );
    let vouched = (btree_set(signature(), 0..3), option::of(content_address()));
    (identity, origin, vouched).prop_map(
        |(
            (path, nar_hash, nar_size),
            (deriver, references, registration_time, ultimate),
            (signatures, ca),
        )| PathInfo {
            path,
            deriver,
            nar_hash: NarHash(nar_hash),
            nar_size,
            references,
            registration_time,
            ultimate,
            signatures,
            ca,
        },
    )
}

/// A derivation without its input derivations.
pub(crate) fn derivation() -> impl Strategy<Value = BasicDerivation> {
    let output = (option::of(path()), ".{0,10}", ".{0,10}").prop_map(|(path, hash_algo, hash)| {
        BasicOutput {
            path,
            hash_algo,
            hash,
        }
    });
    (
        btree_map("[a-z]{1,8}", output, 0..3),
        btree_set(path(), 0..3),
        ".{0,20}",
        ".{0,20}",
        vec(".{0,20}", 0..3),
        btree_map(".{0,10}", vec(any::<u8>(), 0..20), 0..3),
    )
        .prop_map(
            |(outputs, input_sources, system, builder, args, env)| BasicDerivation {
                outputs,
                input_sources,
                system,
                builder,
                args,
                env,
            },
        )
}

/// How a build ended, with all that the newest peer and the oldest can say.
pub(crate) fn build_result() -> impl Strategy<Value = BuildResult> {
    let status = (0..BuildStatus::ALL.len()).prop_map(|index| BuildStatus::ALL[index]);
    let times = (any::<u64>(), any::<bool>(), any::<u64>(), any::<u64>());
    let cpu = (option::of(any::<u64>()), option::of(any::<u64>()));
    let outputs = btree_map(output_name(), built_output(), 0..3);
    (status, text(), times, cpu, outputs).prop_map(
        |(status, error, (times_built, non_deterministic, start, stop), cpu, built_outputs)| {
            BuildResult {
                status,
                error,
                times_built,
                non_deterministic,
                start,
                stop,
                cpu_user: cpu.0,
                cpu_system: cpu.1,
                built_outputs,
            }
        },
    )
}

/// Text for people, in whichever encoding.
pub(crate) fn text() -> impl Strategy<Value = Text> {
    vec(any::<u8>(), 0..30).prop_map(|bytes| Text::from(bytes::Bytes::from(bytes)))
}

pub(crate) fn built_output() -> impl Strategy<Value = BuiltOutput> {
    let id = (drv_hash(), output_name())
        .prop_map(|(drv_hash, output)| DrvHashOutput { drv_hash, output });
    let dependencies = prop_oneof![
        3 => btree_map(id.clone(), path(), 0..1),
        1 => btree_map(id, path(), 0..3),
    ];
    (
        option::of(drv_hash()),
        path(),
        btree_set(signature(), 0..3),
        dependencies,
    )
        .prop_map(|(drv_hash, path, signatures, dependencies)| BuiltOutput {
            // Whoever does not say the hash says nothing of dependencies.
            dependent_realisations: match drv_hash {
                Some(_) => dependencies,
                None => BTreeMap::new(),
            },
            drv_hash,
            path,
            signatures,
        })
}

pub(crate) fn drv_hash() -> impl Strategy<Value = String> + Clone {
    uniform32(1..=u8::MAX).prop_map(|digest| NixHash::Sha256(digest).to_nix_base16_string())
}

pub(crate) fn output_name() -> impl Strategy<Value = String> + Clone {
    "[a-z]{1,8}"
}

pub(crate) fn signature() -> impl Strategy<Value = String> {
    "[a-z.-]{1,10}:[A-Za-z0-9+/]{4}"
}

pub(crate) fn content_address() -> impl Strategy<Value = CAHash> {
    prop_oneof![
        uniform20(any::<u8>()).prop_map(|digest| CAHash::Flat(NixHash::Sha1(digest))),
        uniform32(any::<u8>()).prop_map(|digest| CAHash::Nar(NixHash::Sha256(digest))),
        uniform32(any::<u8>()).prop_map(CAHash::Text),
        uniform20(any::<u8>()).prop_map(|digest| CAHash::Git(NixHash::Sha1(digest))),
    ]
}
