//! Build results and realisations.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::{BuildResult, BuildStatus, BuiltOutput, DrvHashOutput};
use musher_protocol::wire::Encoder;
use musher_protocol::worker::{
    Dialect, OutputId, Realisation, Request, build_result, derived_path,
};
use nix_derivation::{DrvOutput, StoreDir};

use crate::messages::{built, opaque};
use crate::{
    BAR, BAR_DRV, FOO, FOO_DRV, HASH_A, HASH_B, by_path, check, check_request, path, plain, reads,
    signature,
};

pub(crate) fn output(drv_hash: Option<&str>, base_name: &str) -> BuiltOutput {
    BuiltOutput {
        drv_hash: drv_hash.map(str::to_owned),
        path: path(base_name),
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    }
}

/// The three results of every vector, without what later versions added.
pub(crate) fn oldest_results() -> [BuildResult; 3] {
    [
        BuildResult::new(BuildStatus::OutputRejected, "no idea why"),
        BuildResult::new(BuildStatus::NotDeterministic, "no idea why"),
        BuildResult::new(BuildStatus::Built, ""),
    ]
}

pub(crate) fn with_outputs(results: &mut [BuildResult; 3], drv_hash: Option<&str>) {
    results[2].built_outputs = BTreeMap::from([
        ("bar".to_owned(), output(drv_hash, BAR)),
        ("foo".to_owned(), output(drv_hash, FOO)),
    ]);
}

pub(crate) fn with_times(results: &mut [BuildResult; 3]) {
    for (result, times_built) in results[1..].iter_mut().zip([3, 1]) {
        result.times_built = times_built;
        result.start = 30;
        result.stop = 50;
    }
    results[1].non_deterministic = true;
}

pub(crate) fn with_cpu(results: &mut [BuildResult; 3]) {
    results[2].cpu_user = Some(500_000_000);
    results[2].cpu_system = Some(604_000_000);
}

pub(crate) fn build_results(bytes: &[u8], dialect: &Dialect, expected: &[BuildResult]) {
    check(
        bytes,
        expected,
        async |d| build_result::decode(dialect, d).await,
        |result, e| build_result::encode(result, dialect, e),
    );
}

pub(crate) fn build_results_1_27(bytes: &[u8]) {
    build_results(bytes, &plain(27), &oldest_results());
}

pub(crate) fn build_results_1_28(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    build_results(bytes, &plain(28), &results);
}

pub(crate) fn build_results_1_29(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    with_times(&mut results);
    build_results(bytes, &plain(29), &results);
}

pub(crate) fn build_results_1_29_compat(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, None);
    with_times(&mut results);
    build_results(bytes, &plain(29), &results);
}

pub(crate) fn build_results_1_37(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, Some(HASH_B));
    with_times(&mut results);
    with_cpu(&mut results);
    build_results(bytes, &plain(37), &results);
}

pub(crate) fn build_results_by_path(bytes: &[u8]) {
    let mut results = oldest_results();
    with_outputs(&mut results, None);
    with_times(&mut results);
    with_cpu(&mut results);
    build_results(bytes, &by_path(), &results);
}

pub(crate) fn keyed_build_results(bytes: &[u8]) {
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

pub(crate) fn hash_output(drv_hash: &str, output: &str) -> DrvHashOutput {
    DrvHashOutput {
        drv_hash: drv_hash.to_owned(),
        output: output.to_owned(),
    }
}

pub(crate) fn drv_outputs(bytes: &[u8]) {
    check(
        bytes,
        &[hash_output(HASH_A, "baz"), hash_output(HASH_B, "quux")],
        async |d| d.drv_hash_output("output").await,
        |id, e| e.drv_hash_output(id),
    );
}

pub(crate) fn drv_outputs_by_path(bytes: &[u8]) {
    // Both have the same length.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (bytes, output) in [(first, "baz"), (second, "quux")] {
        let id = OutputId::Path(DrvOutput::new(path(FOO_DRV), output));
        check_request(bytes, &by_path(), &Request::QueryRealisation(id));
    }
}

pub(crate) fn signed_output(drv_hash: Option<&str>) -> BuiltOutput {
    BuiltOutput {
        signatures: BTreeSet::from([signature("asdf"), signature("qwer")]),
        ..output(drv_hash, FOO)
    }
}

pub(crate) fn realisation_by_path(bytes: &[u8]) {
    let id = OutputId::Path(DrvOutput::new(path(FOO_DRV), "baz"));
    let realisation = Realisation::new(id, signed_output(None));
    check_request(bytes, &by_path(), &Request::RegisterDrvOutput(realisation));
}

pub(crate) fn unkeyed_realisation_by_path(bytes: &[u8]) {
    check(
        bytes,
        &[signed_output(None)],
        async |d| d.built_output().await,
        |output, e| e.built_output(output),
    );
}

pub(crate) fn realisations_with_deps(bytes: &[u8]) {
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
pub(crate) fn realisations(bytes: &[u8]) {
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
