//! A client whose store the host's Nix store is: what is missing the coordinator
//! builds, and everything else the nix-daemon answers as it would without us.

use musher_api::coordinator as api;
use musher_protocol::types::{BuildMode, BuildStatus, PathInfo};
use musher_protocol::worker::{BodyItem, Options, RemoteError, Request, Response, Trust};
use musher_store::deaf;
use nix_derivation::DerivedPath;

use crate::coordinator::{FakeCoordinator, RealiseCall, bounded};
use crate::host::{Client, Host};
use crate::unbuilt::{Unbuilt, build, ended, results};
use crate::values::{info, nar, path};

/// Asks for what the coordinator is then asked for.
async fn planned(
    client: &mut Client,
    coordinator: &mut FakeCoordinator,
    request: Request,
) -> RealiseCall {
    client.connection.request(request).expect("a request");
    coordinator.realise_while(client).await
}

fn check(wanted: &Unbuilt) -> Request {
    Request::BuildPaths {
        paths: vec![wanted.wanted()],
        mode: BuildMode::Check,
    }
}

fn message(error: &RemoteError) -> String {
    error.message.to_string()
}

/// Sends a path that nobody has signed.
async fn add(
    client: &mut Client,
    name: &str,
    dont_check_sigs: bool,
) -> Result<Response, RemoteError> {
    let nar = nar(name.as_bytes());
    let request = Request::AddToStoreNar {
        info: info(name, &nar),
        repair: false,
        dont_check_sigs,
    };
    client.connection.request(request).expect("a request");
    for item in [BodyItem::Chunk(nar.into()), BodyItem::End] {
        // It may be refused before it is there.
        let _ = bounded(client.connection.body(item)).await;
    }
    client.answer().await
}

#[tokio::test]
async fn what_is_missing_is_one_request_and_comes_home() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.store_session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    let other = Unbuilt::new(&mut client, "other").await;
    let options = Options {
        keep_going: true,
        keep_failed: true,
        ..Options::default()
    };
    let set = client.ask(Request::SetOptions(options)).await;
    assert_eq!(set, Ok(Response::Unit));
    let call = planned(&mut client, &mut coordinator, build(&[&hello, &other])).await;
    let roots = call.request.roots.iter().map(|root| root.drv_path.clone());
    assert_eq!(
        roots.collect::<Vec<_>>(),
        [&hello, &other].map(|wanted| wanted.drv_path.to_absolute_path())
    );
    let api::RealiseRequest {
        keep_going,
        keep_failed,
        no_substitutes,
        check,
        ..
    } = call.request;
    assert!(keep_going && keep_failed && no_substitutes && !check);
    let roots = vec![hello.bring_home(&host).await, other.bring_home(&host).await];
    call.done(roots).await;
    assert_eq!(client.answer().await, Ok(Response::Unit));
    call.released().await;
    // Nothing is left to be built.
    assert_eq!(client.ask(build(&[&hello])).await, Ok(Response::Unit));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn what_cannot_be_had_is_said_in_the_words_of_the_home_store() {
    let Some(host) = Host::new() else { return };
    let _coordinator = host.coordinator();
    let mut client = host.store_session(None).await;
    let request = Request::BuildPaths {
        paths: vec![DerivedPath::Opaque(path("nowhere"))],
        mode: BuildMode::Normal,
    };
    let mut home = bounded(host.store().open()).await.expect("a connection");
    home.request(request.clone()).expect("a request");
    let expected = bounded(home.outcome(&mut deaf)).await.expect("an answer");
    let error = client.ask(request).await.expect_err("an error");
    assert_eq!(message(&error), message(&expected.expect_err("an error")));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn with_keep_going_the_rest_is_built() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.store_session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    let options = Options {
        keep_going: true,
        ..Options::default()
    };
    let set = client.ask(Request::SetOptions(options)).await;
    assert_eq!(set, Ok(Response::Unit));
    let paths = vec![DerivedPath::Opaque(path("nowhere")), hello.wanted()];
    let request = Request::BuildPathsWithResults {
        paths,
        mode: BuildMode::Normal,
    };
    let call = planned(&mut client, &mut coordinator, request).await;
    let root = hello.bring_home(&host).await;
    call.tell(&hello.drv_path, ended(BuildStatus::Built, ""))
        .await;
    call.done(vec![root]).await;
    let results = results(client.answer().await.expect("results"));
    let statuses: Vec<_> = results.iter().map(|result| result.status).collect();
    assert_eq!(statuses, [BuildStatus::NoSubstituters, BuildStatus::Built]);
    client.leave().expect("a good end");
}

#[tokio::test]
async fn what_is_checked_is_built_again() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.store_session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    let root = hello.bring_home(&host).await;
    let call = planned(&mut client, &mut coordinator, check(&hello)).await;
    assert!(call.request.check && !call.request.no_substitutes);
    let text = "derivation 'x' may not be deterministic";
    let differs = ended(BuildStatus::NotDeterministic, text);
    call.tell(&hello.drv_path, differs).await;
    let culprit = hello.drv_path.to_absolute_path();
    call.done(vec![hello.end([], &culprit)]).await;
    let error = client.answer().await.expect_err("a failure");
    assert!(message(&error).contains(text), "{error:?}");
    let call = planned(&mut client, &mut coordinator, check(&hello)).await;
    call.done(vec![root]).await;
    assert_eq!(client.answer().await, Ok(Response::Unit));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn repairs_are_the_home_stores() {
    let Some(host) = Host::new() else { return };
    let _coordinator = host.coordinator();
    let mut client = host.store_session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    hello.bring_home(&host).await;
    let request = |paths| Request::BuildPaths {
        paths,
        mode: BuildMode::Repair,
    };
    let nothing = client.ask(request(Vec::new())).await;
    assert_eq!(nothing, Ok(Response::Unit));
    client.leave().expect("a good end");
}

/// The line that a nix-daemon draws, for who is less than the user they run as.
#[tokio::test]
async fn a_stranger_gets_what_a_nix_daemon_would_give() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.store_session(Some(Trust::NotTrusted)).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    let error = add(&mut client, "unsigned", true).await;
    let text = message(&error.expect_err("a refusal"));
    assert!(text.contains("lacks a"), "{text}");
    let mut client = host.store_session(Some(Trust::NotTrusted)).await;
    let repair = Request::BuildPaths {
        paths: vec![hello.wanted()],
        mode: BuildMode::Repair,
    };
    let error = client.ask(repair).await.expect_err("a refusal");
    assert!(message(&error).contains("repair"), "{error:?}");
    let request = crate::values::build("mine");
    let error = client.ask(request).await.expect_err("a refusal");
    assert_eq!(
        message(&error),
        "you are not privileged to build input-addressed derivations"
    );
    // What the store holds the derivation of, anybody may have.
    let call = planned(&mut client, &mut coordinator, build(&[&hello])).await;
    call.done(vec![hello.bring_home(&host).await]).await;
    assert_eq!(client.answer().await, Ok(Response::Unit));
    let error = client
        .ask(Request::AddBuildLog {
            drv_path: hello.drv_path.clone(),
        })
        .await;
    assert!(message(&error.expect_err("a refusal")).contains("logs"));
}

/// A path that the client brings itself.
#[tokio::test]
async fn who_is_trusted_may_bring_what_nobody_signed() {
    let Some(host) = Host::new() else { return };
    let mut client = host.store_session(None).await;
    let added = add(&mut client, "unsigned", true).await;
    assert_eq!(added, Ok(Response::Unit));
    let found = client.ask(Request::QueryPathInfo(path("unsigned"))).await;
    let Ok(Response::PathInfo(Some(PathInfo { nar_size, .. }))) = found else {
        panic!("it is not there: {found:?}");
    };
    assert_eq!(nar_size, nar(b"unsigned").len() as u64);
    client.leave().expect("a good end");
}
