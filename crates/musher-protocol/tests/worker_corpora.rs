//! Replays the committed corpora of the fuzz targets `worker_server` and
//! `worker_client`.

#[path = "common/corpora.rs"]
mod corpora;
#[path = "../../../fuzz/src/worker.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach it")]
mod worker;

#[test]
fn worker_server() {
    corpora::replay("worker_server", worker::server);
}

#[test]
fn worker_client() {
    corpora::replay("worker_client", worker::client);
}
