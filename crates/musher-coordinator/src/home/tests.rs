//! Closures of the home store, and what is asked for them.

use std::sync::Arc;

use super::{Home, Place};
use crate::build::Closure;
use crate::testing::{HomeStore, info, path};

fn home() -> (Arc<HomeStore>, Home) {
    let store = Arc::new(HomeStore::new([
        info("libc", &["libc"]),
        info("lib", &["libc"]),
        info("app", &["lib", "libc"]),
        info("broken", &["nowhere"]),
    ]));
    (store.clone(), Home::new(store, Place::Elsewhere))
}

fn names(closure: &Closure) -> Vec<&str> {
    closure
        .paths()
        .map(nix_derivation::StorePath::name)
        .collect()
}

#[tokio::test]
async fn a_closure_has_each_path_after_those_it_refers_to() {
    let (store, home) = home();
    let closure = home.closure([path("app")]).await.expect("valid");
    assert_eq!(names(&closure), ["libc", "lib", "app"]);
    assert_eq!(store.asked(), ["app", "lib libc"]);
}

#[tokio::test]
async fn what_is_known_is_not_asked_again_until_it_is_forgotten() {
    let (store, home) = home();
    home.closure([path("lib")]).await.expect("valid");
    store.asked();
    home.closure([path("app")]).await.expect("valid");
    assert_eq!(store.asked(), ["app"]);
    home.closure([path("app"), path("lib")])
        .await
        .expect("valid");
    assert!(store.asked().is_empty());
    home.forget([&path("libc")]);
    home.closure([path("app")]).await.expect("valid");
    assert_eq!(store.asked(), ["libc"]);
}

#[tokio::test]
async fn nothing_needs_nothing() {
    let (store, home) = home();
    let closure = home.closure([]).await.expect("valid");
    assert!(names(&closure).is_empty());
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn an_invalid_path_is_named_and_not_remembered() {
    let (store, home) = home();
    for _ in 0..2 {
        let error = home.closure([path("broken")]).await.expect_err("invalid");
        let text = error.to_string();
        assert!(
            text.ends_with("-nowhere` is not valid in the home store"),
            "{text}"
        );
    }
    assert_eq!(store.asked(), ["broken", "nowhere", "nowhere"]);
}
