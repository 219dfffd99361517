//! A host without Nix: what is missing in its store the coordinator builds.

use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;
use musher_api::coordinator::build_news::News;
use musher_protocol::types::{BuildMode, BuildStatus, Text};
use musher_protocol::worker::{BodyItem, Message, OutputId, Realisation, Request, Response, Trust};
use nix_derivation::{DerivedPath, DrvOutput};

use crate::coordinator::bounded;
use crate::host::Host;
use crate::unbuilt::{Unbuilt, build, ended, results};
use crate::values::{built, derivation, info, nar, path};

fn started(attempt: u64) -> News {
    News::Started(api::Started {
        machine: "big".to_owned(),
        attempt,
    })
}

fn log(bytes: &str) -> News {
    News::Log(api::Log {
        attempt: 1,
        offset: 0,
        bytes: bytes.to_owned().into_bytes().into(),
    })
}

#[tokio::test]
async fn what_is_missing_is_built_and_comes_home() {
    let host = Host::own();
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    client
        .connection
        .request(build(&[&hello]))
        .expect("a request");
    let call = coordinator.realise_while(&mut client).await;
    let root = api::Root {
        drv_path: hello.drv_path.to_absolute_path(),
        outputs: vec!["out".to_owned()],
    };
    assert_eq!(call.request.roots, [root]);
    call.tell(&hello.drv_path, started(1)).await;
    call.tell(&hello.drv_path, log("one\ntwo\n")).await;
    call.tell(&hello.drv_path, ended(BuildStatus::Built, ""))
        .await;
    call.done(vec![hello.bring_home(&host).await]).await;
    assert_eq!(client.answer().await, Ok(Response::Unit));
    call.released().await;

    let lines = (client.heard.iter()).filter(|heard| matches!(heard, Message::Result { .. }));
    assert_eq!(lines.count(), 2);
    let valid = client.ask(Request::IsValidPath(hello.output.clone())).await;
    assert_eq!(valid, Ok(Response::Bool(true)));
    // Nothing is left to be built.
    assert_eq!(client.ask(build(&[&hello])).await, Ok(Response::Unit));
    client.leave().expect("a good end");
}

#[tokio::test]
async fn a_failure_names_what_failed() {
    let host = Host::own();
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let good = Unbuilt::new(&mut client, "good").await;
    let bad = Unbuilt::new(&mut client, "bad").await;
    let behind = Unbuilt::new(&mut client, "behind").await;
    let culprit = bad.drv_path.to_absolute_path();
    let paths = [&good, &bad, &behind].map(Unbuilt::wanted).into();
    let mode = BuildMode::Normal;
    let with_results = Request::BuildPathsWithResults { paths, mode };
    for request in [with_results, build(&[&good, &bad, &behind])] {
        let is_plain = matches!(request, Request::BuildPaths { .. });
        client.connection.request(request).expect("a request");
        let call = coordinator.realise_while(&mut client).await;
        let failed = News::Ended(api::BuildEnd {
            status: BuildStatus::PermanentFailure as u32,
            error: b"exit code 3".to_vec(),
            help: "try 4".to_owned(),
            ..Default::default()
        });
        call.tell(&bad.drv_path, failed).await;
        call.done(vec![
            good.bring_home(&host).await,
            bad.end([], &culprit),
            behind.end([], &culprit),
        ])
        .await;
        let answer = client.answer().await;
        if is_plain {
            let error = answer.expect_err("a failure").message.to_string();
            assert_eq!(
                error,
                format!("build of '{culprit}' failed: exit code 3\ntry 4")
            );
            continue;
        }
        let results = results(answer.expect("results"));
        let said = results
            .iter()
            .map(|result| (result.status, result.error.to_string()));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                (BuildStatus::AlreadyValid, String::new()),
                (
                    BuildStatus::PermanentFailure,
                    "exit code 3\ntry 4".to_owned()
                ),
                (
                    BuildStatus::DependencyFailed,
                    format!("build of '{culprit}' failed: exit code 3\ntry 4")
                ),
            ]
        );
        assert_eq!(results[0].built_outputs["out"].path, good.output);
    }
    client.leave().expect("a good end");
}

#[tokio::test]
async fn what_nobody_can_make_is_not_asked_for() {
    let host = Host::own();
    let _coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let request = Request::BuildPaths {
        paths: vec![DerivedPath::Opaque(path("nowhere"))],
        mode: BuildMode::Normal,
    };
    let error = client.ask(request).await.expect_err("an error");
    assert!(error.message.to_string().contains("-nowhere"), "{error:?}");
    client.leave().expect("a good end");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_request_up() {
    let host = Host::own();
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    client
        .connection
        .request(build(&[&hello]))
        .expect("a request");
    let call = coordinator.realise_while(&mut client).await;
    client.leave().expect("a good end");
    call.released().await;
}

#[tokio::test]
async fn a_stranger_builds_what_it_brings_the_derivation_of() {
    let host = Host::own();
    let mut coordinator = host.coordinator();
    let mut client = host.session(Some(Trust::NotTrusted)).await;
    let hello = Unbuilt::new(&mut client, "hello").await;
    client
        .connection
        .request(build(&[&hello]))
        .expect("a request");
    let call = coordinator.realise_while(&mut client).await;
    call.done(vec![hello.bring_home(&host).await]).await;
    assert_eq!(client.answer().await, Ok(Response::Unit));

    let id = OutputId::Path(DrvOutput::new(hello.drv_path.clone(), "out"));
    let claim = Request::RegisterDrvOutput(Realisation {
        id,
        path: hello.output.clone(),
        signatures: [].into(),
        dependent_realisations: [].into(),
    });
    client.ask(claim).await.expect_err("a refusal");
    client.leave().expect("a good end");
}

/// A derivation that says its output lies where another's does.
#[tokio::test]
async fn a_derivation_that_claims_what_is_not_its_own_is_refused() {
    let host = Host::own();
    let mut client = host.session(Some(Trust::NotTrusted)).await;
    let other = path("other").to_absolute_path();
    let text = format!(
        "Derive([(\"out\",\"{other}\",\"\",\"\")],[],[],\"x86_64-linux\",\"/bin/sh\",[],[(\"out\",\"{other}\")])"
    );
    let request = Request::AddTextToStore {
        name: "claims.drv".to_owned(),
        text: Text::from(text),
        references: [].into(),
    };
    client.ask(request).await.expect_err("a refusal");
    client.leave().expect("a good end");
}

#[tokio::test]
async fn logs_are_kept_where_nix_looks() {
    let host = Host::own();
    let mut client = host.session(None).await;
    let drv_path = path("hello.drv");
    let request = Request::AddBuildLog {
        drv_path: drv_path.clone(),
    };
    client.connection.request(request).expect("a request");
    for item in [BodyItem::Chunk("a line\n".into()), BodyItem::End] {
        bounded(client.connection.body(item))
            .await
            .expect("a session that goes on");
    }
    assert_eq!(client.answer().await, Ok(Response::Unit));
    let name = drv_path.to_basename();
    let log = host.files().state_dir().with_file_name("log");
    let log = log.join("nix/drvs").join(&name[..2]).join(&name[2..]);
    assert_eq!(std::fs::read_to_string(log).expect("a log"), "a line\n");
    client.leave().expect("a good end");
}

/// A client of `ssh://` looks at each path before it sends it.
#[tokio::test]
async fn outputs_of_other_builds_come_home_as_inputs() {
    let host = Host::own();
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    let nar = nar(b"built before");
    let input = info("input", &nar);
    coordinator.holds(&input, "big");
    let found = client.ask(Request::QueryPathInfo(path("input"))).await;
    assert_eq!(found, Ok(Response::PathInfo(Some(input))));

    let mut derivation = derivation("user");
    derivation.input_sources.insert(path("input"));
    let request = Request::BuildDerivation {
        drv_path: path("user.drv"),
        derivation,
        mode: BuildMode::Normal,
    };
    client.connection.request(request).expect("a request");
    let call = coordinator.nar_while(&mut client).await;
    assert_eq!(call.request.machine, "big");
    call.send(&nar).await;
    let call = coordinator.build_while(&mut client).await;
    let valid = host.files().is_valid(&path("input"));
    assert!(valid.expect("a store"));
    let user = info("user", &nar);
    call.say(Event::Ended(built("big", &user))).await;
    client.answer().await.expect("a result");
    client.leave().expect("a good end");
}
