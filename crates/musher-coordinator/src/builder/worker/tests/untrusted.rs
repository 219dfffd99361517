//! Where it does not: it gets what has an address by its content, and works
//! the rest out by itself.

use musher_protocol::worker::Trust;

use super::Bench;
use crate::testing::{Script, by_content, info, order_of_app, path};

#[tokio::test]
async fn the_derivation_goes_with_all_it_comes_from() {
    let bench = Bench::new(Trust::NotTrusted, vec![by_content("lib.drv", &[])]).await;
    let mut script = Script::makes(vec![info("app", &[])]);
    script.log = vec!["cc app.c"];
    bench.daemon.script(path("app.drv"), script);
    let done = bench.done(&order_of_app()).await;
    assert_eq!(
        bench.daemon.asked(),
        [
            "keep app.c app.drv lib.drv",
            "valid or substitutable? app.c app.drv lib.drv",
            "add app.c app.drv",
            "realise app.drv",
            "info app",
        ]
    );
    assert_eq!(done.log, "cc app.c\n");
    assert_eq!(done.outcome.outputs["out"], info("app", &[]));
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again() {
    let bench = Bench::new(Trust::NotTrusted, Vec::new()).await;
    let script = Script::makes(vec![info("app", &[])]);
    bench.daemon.script(path("app.drv"), script);
    let order = order_of_app();
    drop(bench.built(&order).await);
    bench.daemon.asked();
    bench.built(&order).await;
    let asked = bench.daemon.asked();
    assert!(
        !asked.iter().any(|line| line.starts_with("add")),
        "{asked:?}"
    );
    assert_eq!(bench.daemon.connections(), 1);
}
