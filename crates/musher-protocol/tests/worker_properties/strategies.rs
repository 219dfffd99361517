//! Arbitrary messages of the worker protocol.

use std::collections::BTreeSet;

use musher_protocol::types::{BuildMode, DrvHashOutput};
use musher_protocol::worker::{
    Activity, ActivityKind, Dialect, Feature, Field, GarbageAction, GarbagePaths, GarbageRun,
    Level, Message, Missing, Op, Options, OutputId, Realisation, RemoteError, Request, Response,
    ResultKind, Root, Substitutable, Version,
};
use nix_derivation::{DerivedPath, DrvOutput, SingleDerivedPath};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::values::{
    build_result, built_output, content_address, derivation, drv_hash, output_name, path,
    path_info, signature, text,
};

/// A version with some of the features that it can have.
pub(crate) fn dialect() -> impl Strategy<Value = Dialect> + Clone {
    let version = select(Version::all().collect::<Vec<_>>());
    let features = btree_set(select(&Feature::ALL[..]), 0..5);
    (version, features).prop_map(|(version, features)| Dialect {
        features: if version.has(38) {
            features
        } else {
            BTreeSet::new()
        },
        version,
    })
}

/// Any request, whichever dialect can say it.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        path_request(),
        build_request(),
        add_request(),
        other_request()
    ]
}

fn path_request() -> BoxedStrategy<Request> {
    let makers: [fn(nix_derivation::StorePath) -> Request; 12] = [
        Request::IsValidPath,
        Request::QueryReferrers,
        Request::EnsurePath,
        Request::AddTempRoot,
        Request::QueryDeriver,
        Request::QuerySubstitutablePathInfo,
        Request::QueryDerivationOutputs,
        Request::QueryPathInfo,
        Request::QueryDerivationOutputNames,
        Request::QueryValidDerivers,
        Request::NarFromPath,
        Request::QueryDerivationOutputMap,
    ];
    (select(makers.to_vec()), path())
        .prop_map(|(make, path)| make(path))
        .boxed()
}

fn build_request() -> BoxedStrategy<Request> {
    let paths = || vec(derived_path(), 0..4);
    prop_oneof![
        (paths(), mode()).prop_map(|(paths, mode)| Request::BuildPaths { paths, mode }),
        (paths(), mode()).prop_map(|(paths, mode)| Request::BuildPathsWithResults { paths, mode }),
        paths().prop_map(Request::QueryMissing),
        (path(), derivation(), mode()).prop_map(|(drv_path, derivation, mode)| {
            Request::BuildDerivation {
                drv_path,
                derivation,
                mode,
            }
        }),
        (single_path(), output_name())
            .prop_map(|(path, output)| Request::SubmitOutput { path, output }),
    ]
    .boxed()
}

/// A request with a body.
pub(crate) fn add_request() -> BoxedStrategy<Request> {
    let name = || "[a-z]{1,8}";
    prop_oneof![
        (name(), name(), btree_set(path(), 0..3), any::<bool>()).prop_map(
            |(name, method, references, repair)| Request::AddToStore {
                name,
                method,
                references,
                repair,
            }
        ),
        (name(), any::<bool>(), select(vec!["sha256", "sha1"])).prop_map(
            |(name, recursive, algorithm)| Request::AddNarToStore {
                name,
                recursive,
                algorithm: algorithm.to_owned(),
            }
        ),
        (path_info(), any::<bool>(), any::<bool>()).prop_map(|(info, repair, dont_check_sigs)| {
            Request::AddToStoreNar {
                info,
                repair,
                dont_check_sigs,
            }
        }),
        (any::<bool>(), any::<bool>(), 0..4_u64).prop_map(|(repair, dont_check_sigs, count)| {
            Request::AddMultipleToStore {
                repair,
                dont_check_sigs,
                count,
            }
        }),
        path().prop_map(|drv_path| Request::AddBuildLog { drv_path }),
        (name(), name()).prop_map(|(name, method)| Request::AddToStoreScanning { name, method }),
    ]
    .boxed()
}

fn other_request() -> BoxedStrategy<Request> {
    prop_oneof![
        select(vec![
            Request::SyncWithGc,
            Request::FindRoots,
            Request::QueryAllValidPaths,
            Request::OptimiseStore,
        ]),
        ("[a-z]{1,8}", text(), btree_set(path(), 0..3)).prop_map(|(name, text, references)| {
            Request::AddTextToStore {
                name,
                text,
                references,
            }
        }),
        text().prop_map(Request::AddIndirectRoot),
        (path(), text()).prop_map(|(path, link)| Request::AddPermRoot { path, link }),
        options().prop_map(Request::SetOptions),
        garbage().prop_map(Request::CollectGarbage),
        "[0-9a-z]{32}".prop_map(Request::QueryPathFromHashPart),
        btree_map(path(), option::of(content_address()), 0..3)
            .prop_map(Request::QuerySubstitutablePathInfos),
        (btree_set(path(), 0..3), any::<bool>())
            .prop_map(|(paths, substitute)| Request::QueryValidPaths { paths, substitute }),
        btree_set(path(), 0..3).prop_map(Request::QuerySubstitutablePaths),
        (any::<bool>(), any::<bool>()).prop_map(|(check_contents, repair)| {
            Request::VerifyStore {
                check_contents,
                repair,
            }
        }),
        (path(), btree_set(signature(), 0..3))
            .prop_map(|(path, signatures)| Request::AddSignatures { path, signatures }),
        (output_id(), built_output())
            .prop_map(|(id, output)| Request::RegisterDrvOutput(Realisation::new(id, output))),
        output_id().prop_map(Request::QueryRealisation),
    ]
    .boxed()
}

/// Any answer to a request of this kind.
pub(crate) fn response(op: Op, dialect: &Dialect) -> BoxedStrategy<Response> {
    let paths = || btree_set(path(), 0..3);
    match op {
        Op::BuildPaths
        | Op::EnsurePath
        | Op::AddTempRoot
        | Op::AddIndirectRoot
        | Op::SyncWithGc
        | Op::SetOptions
        | Op::OptimiseStore
        | Op::AddSignatures
        | Op::AddToStoreNar
        | Op::RegisterDrvOutput
        | Op::AddMultipleToStore
        | Op::AddBuildLog
        | Op::SubmitOutput => Just(Response::Unit).boxed(),
        Op::IsValidPath | Op::VerifyStore => any::<bool>().prop_map(Response::Bool).boxed(),
        Op::AddToStore if dialect.has(25) => path_info().prop_map(Response::Added).boxed(),
        Op::AddToStoreScanning => path_info().prop_map(Response::Added).boxed(),
        Op::AddToStore | Op::AddTextToStore => path().prop_map(Response::Path).boxed(),
        Op::QueryDeriver | Op::QueryPathFromHashPart => {
            option::of(path()).prop_map(Response::OptionalPath).boxed()
        }
        Op::QueryReferrers
        | Op::QueryDerivationOutputs
        | Op::QueryAllValidPaths
        | Op::QueryValidPaths
        | Op::QuerySubstitutablePaths
        | Op::QueryValidDerivers => paths().prop_map(Response::Paths).boxed(),
        Op::QueryDerivationOutputNames => btree_set(output_name(), 0..3)
            .prop_map(Response::Names)
            .boxed(),
        Op::QueryDerivationOutputMap => btree_map(output_name(), option::of(path()), 0..3)
            .prop_map(Response::OutputMap)
            .boxed(),
        Op::QueryPathInfo => option::of(path_info()).prop_map(Response::PathInfo).boxed(),
        Op::FindRoots => vec((text(), path()), 0..3)
            .prop_map(|roots| {
                let root = |(link, target)| Root { link, target };
                Response::Roots(roots.into_iter().map(root).collect())
            })
            .boxed(),
        Op::CollectGarbage => (btree_set(text(), 0..3), any::<u64>())
            .prop_map(|(paths, bytes_freed)| Response::Garbage { paths, bytes_freed })
            .boxed(),
        Op::QuerySubstitutablePathInfo => option::of(substitutable())
            .prop_map(Response::SubstitutablePath)
            .boxed(),
        Op::QuerySubstitutablePathInfos => btree_map(path(), substitutable(), 0..3)
            .prop_map(Response::SubstitutablePaths)
            .boxed(),
        Op::BuildDerivation => build_result().prop_map(Response::BuildResult).boxed(),
        Op::BuildPathsWithResults => vec((derived_path(), build_result()), 0..3)
            .prop_map(Response::KeyedBuildResults)
            .boxed(),
        Op::QueryMissing => (paths(), paths(), paths(), any::<u64>(), any::<u64>())
            .prop_map(
                |(will_build, will_substitute, unknown, download_size, nar_size)| {
                    Response::Missing(Missing {
                        will_build,
                        will_substitute,
                        unknown,
                        download_size,
                        nar_size,
                    })
                },
            )
            .boxed(),
        Op::QueryRealisation => option::of(built_output())
            .prop_map(Response::Realisation)
            .boxed(),
        Op::AddPermRoot => text().prop_map(Response::Link).boxed(),
        Op::NarFromPath => Just(Response::Nar).boxed(),
    }
}

/// Something said while a request runs.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let fields = || {
        let field = prop_oneof![
            any::<u64>().prop_map(Field::Int),
            text().prop_map(Field::Text),
        ];
        vec(field, 0..4)
    };
    let numbers = || (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    prop_oneof![
        text().prop_map(Message::Next),
        (numbers(), text(), fields()).prop_map(|((id, level, kind, parent), text, fields)| {
            Message::StartActivity(Activity {
                id,
                level: Level(level),
                kind: ActivityKind(kind),
                text,
                fields,
                parent,
            })
        }),
        any::<u64>().prop_map(|id| Message::StopActivity { id }),
        (any::<u64>(), any::<u64>(), fields()).prop_map(|(id, kind, fields)| {
            let kind = ResultKind(kind);
            Message::Result { id, kind, fields }
        }),
    ]
}

/// A request's failure.
pub(crate) fn remote_error() -> impl Strategy<Value = RemoteError> {
    let traces = vec(text(), 0..3);
    (any::<u64>(), text(), text(), traces, any::<u64>()).prop_map(
        |(level, name, message, traces, status)| RemoteError {
            level: Level(level),
            name,
            message,
            traces,
            status,
        },
    )
}

fn mode() -> impl Strategy<Value = BuildMode> {
    select(vec![BuildMode::Normal, BuildMode::Repair, BuildMode::Check])
}

fn derived_path() -> impl Strategy<Value = DerivedPath> {
    let outputs = btree_set(output_name(), 0..3);
    prop_oneof![
        path().prop_map(DerivedPath::Opaque),
        (single_path(), outputs).prop_map(|(drv_path, outputs)| DerivedPath::Built {
            drv_path,
            outputs: outputs.into_iter().collect(),
        }),
    ]
}

fn single_path() -> impl Strategy<Value = SingleDerivedPath> {
    let outputs = prop_oneof![3 => Just(Vec::new()), 1 => vec(output_name(), 1..4)];
    (path(), outputs).prop_map(|(path, outputs)| {
        outputs
            .into_iter()
            .fold(SingleDerivedPath::Opaque(path), |drv_path, output| {
                SingleDerivedPath::Built {
                    drv_path: Box::new(drv_path),
                    output,
                }
            })
    })
}

fn output_id() -> impl Strategy<Value = OutputId> {
    prop_oneof![
        (drv_hash(), output_name())
            .prop_map(|(drv_hash, output)| OutputId::Hash(DrvHashOutput { drv_hash, output })),
        (path(), output_name()).prop_map(|(path, name)| OutputId::Path(DrvOutput::new(path, name))),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let switches = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let overrides = btree_map("[a-z-]{1,12}", text(), 0..3);
    (switches, numbers, overrides).prop_map(|(switches, numbers, overrides)| Options {
        keep_failed: switches.0,
        keep_going: switches.1,
        try_fallback: switches.2,
        verbosity: Level(numbers.0),
        max_build_jobs: numbers.1,
        max_silent_time: numbers.2,
        verbose_build: switches.3,
        build_cores: numbers.3,
        use_substitutes: switches.4,
        overrides,
    })
}

fn garbage() -> impl Strategy<Value = GarbageRun> {
    let action = select(vec![
        GarbageAction::ReturnLive,
        GarbageAction::ReturnDead,
        GarbageAction::DeleteDead,
        GarbageAction::DeleteSpecific,
    ]);
    let paths = prop_oneof![
        Just(GarbagePaths::WholeStore),
        (btree_set(path(), 0..3), any::<bool>()).prop_map(|(paths, with_referrers)| {
            GarbagePaths::Specific {
                paths,
                with_referrers,
            }
        }),
    ];
    (action, paths, any::<bool>(), any::<u64>()).prop_map(
        |(action, paths, ignore_liveness, max_freed)| GarbageRun {
            action,
            paths,
            ignore_liveness,
            max_freed,
        },
    )
}

fn substitutable() -> impl Strategy<Value = Substitutable> {
    let references = btree_set(path(), 0..3);
    (option::of(path()), references, any::<u64>(), any::<u64>()).prop_map(
        |(deriver, references, download_size, nar_size)| Substitutable {
            deriver,
            references,
            download_size,
            nar_size,
        },
    )
}
