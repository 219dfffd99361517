//! Replays the committed corpora of the fuzz targets `serve_server` and
//! `serve_client`.

#[path = "common/corpora.rs"]
mod corpora;
#[path = "../../../fuzz/src/serve.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach it")]
mod serve;

#[test]
fn serve_server() {
    corpora::replay("serve_server", serve::server);
}

#[test]
fn serve_client() {
    corpora::replay("serve_client", serve::client);
}
