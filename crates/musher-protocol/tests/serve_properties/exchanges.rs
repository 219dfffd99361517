//! Arbitrary exchanges of the serve protocol: a request, what follows it, and
//! an answer to it.

use std::num::NonZeroU64;

use bytes::Bytes;
use musher_protocol::serve::{
    BodyItem, BuildFailure, BuildOptions, Exported, Request, Response, Version,
};
use musher_protocol::types::PathInfo;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::nars;
use crate::strategies::{build_result, derivation, path, path_info, text};

/// A request with its body, and the answer to it. The answer to
/// `DumpStorePath` has `nar` with it.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) body: Vec<BodyItem>,
    pub(crate) nar: Vec<u8>,
    pub(crate) response: Response,
}

/// A version that sessions speak.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    (Version::MIN.minor()..=Version::MAX.minor()).prop_map(Version::new)
}

pub(crate) fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        query_valid_paths(),
        query_path_infos(),
        dump_store_path(),
        import_paths(),
        build_paths(),
        query_closure(),
        build_derivation(),
        add_to_store_nar(),
    ]
}

fn plain(request: Request, response: Response) -> Exchange {
    Exchange {
        request,
        body: Vec::new(),
        nar: Vec::new(),
        response,
    }
}

fn query_valid_paths() -> impl Strategy<Value = Exchange> {
    let paths = || btree_set(path(), 0..4);
    (any::<bool>(), any::<bool>(), paths(), paths()).prop_map(|(lock, substitute, paths, valid)| {
        let request = Request::QueryValidPaths {
            lock,
            substitute,
            paths,
        };
        plain(request, Response::ValidPaths(valid))
    })
}

fn query_path_infos() -> impl Strategy<Value = Exchange> {
    let info = path_info().prop_map(|info| PathInfo {
        registration_time: 0,
        ultimate: false,
        ..info
    });
    (btree_set(path(), 0..4), vec(info, 0..4)).prop_map(|(paths, infos)| {
        plain(
            Request::QueryPathInfos { paths },
            Response::PathInfos(infos),
        )
    })
}

fn dump_store_path() -> impl Strategy<Value = Exchange> {
    (path(), nar()).prop_map(|(path, nar)| Exchange {
        nar,
        ..plain(Request::DumpStorePath { path }, Response::Nar)
    })
}

fn import_paths() -> impl Strategy<Value = Exchange> {
    let exported = (path(), btree_set(path(), 0..3), option::of(path())).prop_map(
        |(path, references, deriver)| Exported {
            path,
            references,
            deriver,
        },
    );
    (vec((nar(), exported), 0..3), any::<bool>()).prop_map(|(paths, taken)| {
        let mut body = Vec::new();
        for (nar, exported) in paths {
            body.extend(chunks(&nar));
            body.push(BodyItem::Path(exported));
        }
        body.push(BodyItem::End);
        Exchange {
            body,
            ..plain(Request::ImportPaths, Response::Imported(taken))
        }
    })
}

fn build_paths() -> impl Strategy<Value = Exchange> {
    let failure = (1u64.., text()).prop_map(|(status, message)| BuildFailure {
        status: NonZeroU64::new(status).expect("the range begins at 1"),
        message,
    });
    let outcome = prop_oneof![Just(Ok(())), failure.prop_map(Err)];
    (vec(".{0,20}", 0..3), options(), outcome).prop_map(|(paths, options, outcome)| {
        plain(
            Request::BuildPaths { paths, options },
            Response::PathsBuilt(outcome),
        )
    })
}

fn query_closure() -> impl Strategy<Value = Exchange> {
    let paths = || btree_set(path(), 0..4);
    (any::<bool>(), paths(), paths()).prop_map(|(include_outputs, paths, closure)| {
        let request = Request::QueryClosure {
            include_outputs,
            paths,
        };
        plain(request, Response::Closure(closure))
    })
}

fn build_derivation() -> impl Strategy<Value = Exchange> {
    (path(), derivation(), options(), build_result()).prop_map(
        |(drv_path, derivation, options, result)| {
            let request = Request::BuildDerivation {
                drv_path,
                derivation,
                options,
            };
            plain(request, Response::Built(result))
        },
    )
}

fn add_to_store_nar() -> impl Strategy<Value = Exchange> {
    (path_info(), nar(), any::<bool>()).prop_map(|(info, nar, taken)| {
        let info = PathInfo {
            nar_size: nar.len() as u64,
            ..info
        };
        let mut body = chunks(&nar);
        body.push(BodyItem::End);
        Exchange {
            body,
            ..plain(Request::AddToStoreNar { info }, Response::Added(taken))
        }
    })
}

fn options() -> impl Strategy<Value = BuildOptions> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (numbers, any::<bool>(), any::<bool>()).prop_map(
        |((max_silent, timeout, max_log_size, nr_repeats), enforce_determinism, keep_failed)| {
            BuildOptions {
                max_silent,
                timeout,
                max_log_size,
                nr_repeats,
                enforce_determinism,
                keep_failed,
            }
        },
    )
}

fn nar() -> impl Strategy<Value = Vec<u8>> {
    let content = || vec(any::<u8>(), 0..300);
    prop_oneof![
        content().prop_map(|content| nars::file(&content)),
        ("[a-z]{1,9}", content())
            .prop_map(|(name, content)| { nars::directory(name.as_bytes(), &content) }),
    ]
}

fn chunks(nar: &[u8]) -> Vec<BodyItem> {
    nar.chunks(77)
        .map(|chunk| BodyItem::Chunk(Bytes::copy_from_slice(chunk)))
        .collect()
}
