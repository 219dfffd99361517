//! Builds: what the coordinator is asked, what the client hears, and how both
//! may leave.

use expect_test::{Expect, expect};
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;
use musher_protocol::types::{BuildMode, BuildResult, BuildStatus};
use musher_protocol::worker::{Field, Message, RemoteError, Request, Response, Trust};

use crate::coordinator::bounded;
use crate::host::{Client, Host};
use crate::values::{build, built, derivation, failed, info, nar, path};

/// What the client heard, a line each, with ids counted from 1.
#[track_caller]
fn check_heard(client: &Client, expected: &Expect) {
    let mut first = None;
    let mut number = |id: u64| id - *first.get_or_insert(id) + 1;
    let lines = client.heard.iter().map(|message| match message {
        Message::Next(text) => format!("next {text}"),
        Message::StartActivity(it) => {
            format!("start {} kind {} {}\n", number(it.id), it.kind.0, it.text)
        }
        Message::StopActivity { id } => format!("stop {}\n", number(*id)),
        Message::Result { id, kind, fields } => {
            let texts: Vec<_> = fields.iter().map(text).collect();
            format!(
                "result {} kind {} {}\n",
                number(*id),
                kind.0,
                texts.join(" ")
            )
        }
    });
    expected.assert_eq(&lines.collect::<String>());
}

fn text(field: &Field) -> String {
    match field {
        Field::Int(number) => number.to_string(),
        Field::Text(text) => text.to_string(),
    }
}

fn result(answer: Result<Response, RemoteError>) -> BuildResult {
    match answer {
        Ok(Response::BuildResult(result)) => result,
        other => panic!("no build result: {other:?}"),
    }
}

#[tokio::test]
async fn a_build_is_told_live_and_kept() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    let call = coordinator.build_while(&mut client).await;
    assert_eq!(call.request.drv_path, path("hello.drv").to_absolute_path());
    call.starts("big", 1).await;
    call.logs(
        1,
        0,
        "one\n@nix {\"action\":\"setPhase\",\"phase\":\"build\"}\ntwo\n",
    )
    .await;
    let nar = nar(b"hello");
    call.say(Event::Ended(built("big", &info("hello", &nar))))
        .await;
    let result = result(client.answer().await);
    assert_eq!(result.status, BuildStatus::Built);
    assert_eq!(result.built_outputs["out"].path, path("hello"));
    check_heard(
        &client,
        &expect![[r#"
            start 1 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'big'
            result 1 kind 101 one
            result 1 kind 104 build
            result 1 kind 101 two
            stop 1
        "#]],
    );
    assert!(!call.is_released());
    client.leave().expect("a good end");
    call.released().await;
}

#[tokio::test]
async fn a_build_without_a_sandbox_is_said_to_be_one() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    for (sandboxed, expected) in [
        (
            false,
            expect![[r#"
                start 1 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'big'
                stop 1
                next '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' was built without a sandbox on `big`
            "#]],
        ),
        (
            true,
            expect![[r#"
                start 1 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'big'
                stop 1
            "#]],
        ),
    ] {
        let mut client = host.session(None).await;
        let request = client.connection.request(build("hello"));
        request.expect("a request");
        let call = coordinator.build_while(&mut client).await;
        call.starts("big", 1).await;
        let mut ended = built("big", &info("hello", &nar(b"hello")));
        ended.usage = Some(api::Usage {
            sandboxed,
            ..api::Usage::default()
        });
        call.say(Event::Ended(ended)).await;
        let result = result(client.answer().await);
        assert_eq!(result.status, BuildStatus::Built);
        check_heard(&client, &expected);
        client.leave().expect("a good end");
        call.released().await;
    }
}

#[tokio::test]
async fn a_failed_build_is_an_outcome() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    for (status, error) in [
        (
            BuildStatus::PermanentFailure,
            "builder failed with exit code 1",
        ),
        (BuildStatus::TimedOut, "timed out after 5 seconds"),
        (BuildStatus::LogLimitExceeded, "too much log"),
    ] {
        client.connection.request(build("bad")).expect("a request");
        let call = coordinator.build_while(&mut client).await;
        call.starts("big", 1).await;
        call.say(Event::Ended(failed(status, error))).await;
        let result = result(client.answer().await);
        assert_eq!(
            (result.status, result.error.to_string().as_str()),
            (status, error)
        );
        call.released().await;
    }
    client.leave().expect("a good end");
}

#[tokio::test]
async fn what_the_coordinator_refuses_fails_the_request_alone() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client.connection.request(build("odd")).expect("a request");
    coordinator
        .build_while(&mut client)
        .await
        .refuse("no builder offers `riscv`")
        .await;
    let error = client.answer().await.expect_err("a refusal");
    assert_eq!(
        error.message.to_string(),
        "the coordinator refused: no builder offers `riscv`"
    );
    let valid = client.ask(Request::IsValidPath(path("odd"))).await;
    assert_eq!(valid, Ok(Response::Bool(false)));
}

#[tokio::test]
async fn a_restarted_coordinator_goes_on_where_it_was() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    let call = coordinator.build_while(&mut client).await;
    call.starts("big", 7).await;
    call.logs(7, 0, "one\n").await;
    let id = call.request.request_id.clone();
    // One more line must have been read before the end.
    call.logs(7, 4, "two\n").await;
    call.logs(7, 8, "three\n").await;
    drop(coordinator);

    let mut coordinator = host.coordinator();
    let call = coordinator.build().await;
    assert_eq!(call.request.request_id, id);
    assert_eq!(call.request.log_attempt, 7);
    let offset = call.request.log_offset;
    assert!(offset >= 4, "the first line was heard: {offset}");
    call.starts("big", 7).await;
    // From before the place that was asked for: what is known is left out.
    call.logs(7, 4, "two\nthree\nfour\n").await;
    let nar = nar(b"hello");
    call.say(Event::Ended(built("big", &info("hello", &nar))))
        .await;
    assert_eq!(result(client.answer().await).status, BuildStatus::Built);
    check_heard(
        &client,
        &expect![[r#"
            start 1 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'big'
            result 1 kind 101 one
            result 1 kind 101 two
            result 1 kind 101 three
            result 1 kind 101 four
            stop 1
        "#]],
    );
    client.leave().expect("a good end");
}

#[tokio::test]
async fn another_attempt_is_another_activity() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    let call = coordinator.build_while(&mut client).await;
    call.starts("big", 1).await;
    call.logs(1, 0, "one\n").await;
    let reason = "`big` is lost".to_owned();
    call.say(Event::Waiting(api::Waiting {
        reason,
        details: None,
    }))
    .await;
    call.starts("small", 2).await;
    call.logs(2, 0, "one again\n").await;
    let nar = nar(b"hello");
    call.say(Event::Ended(built("small", &info("hello", &nar))))
        .await;
    assert_eq!(result(client.answer().await).status, BuildStatus::Built);
    check_heard(
        &client,
        &expect![[r#"
            start 1 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'big'
            result 1 kind 101 one
            stop 1
            start 2 kind 105 building '/nix/store/yv8s6flv7qfrshh6jz73kvflbkb4dvpk-hello.drv' on 'small'
            result 2 kind 101 one again
            stop 2
        "#]],
    );
}

#[tokio::test]
async fn an_absent_coordinator_is_waited_for() {
    let Some(host) = Host::new() else { return };
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    let socket = host.control_socket();
    // It is told before the coordinator starts.
    let first = bounded(client.connection.event()).await.expect("an event");
    let told = format!("{first:?}");
    assert!(told.contains("start `musher daemon`"), "{told}");
    assert!(told.contains(&socket.display().to_string()), "{told}");
    let mut coordinator = host.coordinator();
    let call = coordinator.build_while(&mut client).await;
    let nar = nar(b"hello");
    call.say(Event::Ended(built("big", &info("hello", &nar))))
        .await;
    assert_eq!(result(client.answer().await).status, BuildStatus::Built);
}

#[tokio::test]
async fn a_client_that_hangs_up_lets_go_of_its_build() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    // It is sent while an answer is awaited.
    let call = coordinator.build_while(&mut client).await;
    client.leave().expect("a good end");
    call.released().await;
}

#[tokio::test]
async fn a_client_that_said_too_much_can_still_hang_up() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(None).await;
    client
        .connection
        .request(build("hello"))
        .expect("a request");
    for _ in 0..2000 {
        let more = Request::IsValidPath(path("hello"));
        client.connection.request(more).expect("a request");
    }
    let call = coordinator.build_while(&mut client).await;
    // Whatever fits is on its way.
    let some_time = std::time::Duration::from_millis(50);
    let _ = tokio::time::timeout(some_time, client.connection.event()).await;
    client.leave().expect("a good end");
    call.released().await;
}

#[tokio::test]
async fn untrusted_clients_build_only_what_proves_itself() {
    let Some(host) = Host::new() else { return };
    let mut coordinator = host.coordinator();
    let mut client = host.session(Some(Trust::NotTrusted)).await;
    assert_eq!(
        client.connection.negotiated().trust,
        Some(Trust::NotTrusted)
    );
    let error = client.ask(build("hello")).await.expect_err("a refusal");
    assert_eq!(
        error.message.to_string(),
        "you are not privileged to build input-addressed derivations"
    );

    let request = Request::BuildDerivation {
        drv_path: path("fetched.drv"),
        derivation: floating("fetched"),
        mode: BuildMode::Normal,
    };
    client.connection.request(request).expect("a request");
    let call = coordinator.build_while(&mut client).await;
    assert!(call.request.drv_path.ends_with("-fetched.drv"));
    assert_ne!(
        call.request.drv_path,
        path("fetched.drv").to_absolute_path()
    );
    call.say(Event::Ended(failed(BuildStatus::MiscFailure, "no")))
        .await;
    assert_eq!(
        result(client.answer().await).status,
        BuildStatus::MiscFailure
    );

    let mut lying = floating("fetched");
    let output = lying.outputs.get_mut("out").expect("an output");
    output.path = Some(path("hello"));
    output.hash = "00".repeat(32);
    let request = Request::BuildDerivation {
        drv_path: path("fetched.drv"),
        derivation: lying,
        mode: BuildMode::Normal,
    };
    let error = client.ask(request).await.expect_err("a refusal");
    assert!(
        error
            .message
            .to_string()
            .ends_with("does not belong where it says"),
        "{error:?}"
    );
}

/// A derivation with one floating content-addressed output.
fn floating(name: &str) -> musher_protocol::types::BasicDerivation {
    let mut derivation = derivation(name);
    let output = derivation.outputs.get_mut("out").expect("an output");
    output.path = None;
    output.hash_algo = "r:sha256".to_owned();
    derivation
}
