//! Arbitrary requests with their bodies, and what is to become of them.

use bytes::Bytes;
use musher_protocol::types::PathInfo;
use musher_protocol::worker::{BodyItem, Dialect, Message, RemoteError, Request, Response};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};

use crate::values::path_info;
use crate::{nars, strategies};

/// How a request ends.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// With this, after its body.
    Reply(Response),
    /// With this, after so many pieces of its body.
    Fail(usize, RemoteError),
}

/// One request and its story.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) request: Request,
    pub(crate) body: Vec<BodyItem>,
    pub(crate) log: Vec<Message>,
    pub(crate) outcome: Outcome,
    /// What follows a reply that promises a NAR.
    pub(crate) nar: Vec<u8>,
}

/// Some requests that the dialect can say.
pub(crate) fn steps(dialect: &Dialect) -> impl Strategy<Value = Vec<Step>> + use<> {
    vec(step(dialect.clone()), 0..5)
}

fn step(dialect: Dialect) -> impl Strategy<Value = Step> {
    let request = proptest::prop_oneof![
        3 => strategies::request(),
        2 => strategies::add_request(),
    ];
    let known = dialect.clone();
    request
        .prop_filter("the dialect can say it", move |request| {
            request.check(&known).is_ok()
        })
        .prop_flat_map(with_body)
        .prop_flat_map(move |(request, body)| {
            let outcome = (
                strategies::response(request.op(), &dialect),
                option::weighted(0.3, (0..4_usize, strategies::remote_error())),
            );
            let outcome = outcome.prop_map(|(response, failure)| match failure {
                Some((at, error)) => Outcome::Fail(at, error),
                None => Outcome::Reply(response),
            });
            let nar = vec(any::<u8>(), 0..100).prop_map(|content| nars::file(&content));
            let log = vec(strategies::message(), 0..3);
            (Just(request), Just(body), log, outcome, nar)
        })
        .prop_map(|(request, body, log, outcome, nar)| Step {
            request,
            body,
            log,
            outcome,
            nar,
        })
}

/// A body for `request`, which is changed to fit.
fn with_body(request: Request) -> BoxedStrategy<(Request, Vec<BodyItem>)> {
    if !request.has_body() {
        return Just((request, Vec::new())).boxed();
    }
    if let Request::AddMultipleToStore { .. } = request {
        return vec((path_info(), chunks()), 0..3)
            .prop_map(move |paths| add_paths(request.clone(), paths))
            .boxed();
    }
    if let Request::AddNarToStore { .. } = request {
        return vec(any::<u8>(), 0..100)
            .prop_map(move |content| add_nar(request.clone(), &content))
            .boxed();
    }
    chunks()
        .prop_map(move |chunks| {
            let mut request = request.clone();
            if let Request::AddToStoreNar { info, .. } = &mut request {
                info.nar_size = size(&chunks);
            }
            (request, ended(chunks))
        })
        .boxed()
}

fn add_paths(
    mut request: Request,
    paths: Vec<(PathInfo, Vec<BodyItem>)>,
) -> (Request, Vec<BodyItem>) {
    if let Request::AddMultipleToStore { count, .. } = &mut request {
        *count = paths.len() as u64;
    }
    let items = paths.into_iter().flat_map(|(info, chunks)| {
        let nar_size = size(&chunks);
        let path = BodyItem::Path(PathInfo { nar_size, ..info });
        [path].into_iter().chain(chunks)
    });
    (request, ended(items))
}

fn add_nar(request: Request, content: &[u8]) -> (Request, Vec<BodyItem>) {
    let nar = nars::directory(b"file", content);
    let chunks = nar
        .chunks(17)
        .map(|chunk| BodyItem::Chunk(Bytes::copy_from_slice(chunk)));
    (request, ended(chunks))
}

fn chunks() -> impl Strategy<Value = Vec<BodyItem>> {
    let chunk = vec(any::<u8>(), 1..50);
    vec(
        chunk.prop_map(|bytes| BodyItem::Chunk(Bytes::from(bytes))),
        0..4,
    )
}

fn size(chunks: &[BodyItem]) -> u64 {
    let sizes = chunks.iter().map(|item| match item {
        BodyItem::Chunk(bytes) => bytes.len() as u64,
        BodyItem::Path(_) | BodyItem::End => 0,
    });
    sizes.sum()
}

fn ended(items: impl IntoIterator<Item = BodyItem>) -> Vec<BodyItem> {
    items.into_iter().chain([BodyItem::End]).collect()
}
