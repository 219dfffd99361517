//! The primitives of the wire: what they take, and what they say about what
//! they do not.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use musher_protocol::wire::{DecodeError, Decoder, Encoder, Limits, Source, decode};
use nix_derivation::StoreDir;

fn store_dir() -> StoreDir {
    StoreDir::new("/some/other/store").unwrap()
}

fn encoded(encode: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::new(store_dir());
    encode(&mut encoder);
    encoder.take().to_vec()
}

#[track_caller]
fn rejects<T: std::fmt::Debug>(
    bytes: &[u8],
    decoder: impl AsyncFnOnce(&mut Decoder) -> Result<T, DecodeError>,
    message: &str,
) {
    let error = decode(bytes, &store_dir(), decoder).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn strings_are_padded_to_words() {
    for length in 0..20 {
        let string = "x".repeat(length);
        let bytes = encoded(|e| e.string(&string));
        assert_eq!(bytes.len() % 8, 0);
        let again = decode(&bytes, &store_dir(), async |d| d.short("string").await);
        assert_eq!(again.unwrap(), string);
    }
}

#[test]
fn padding_is_zero() {
    let mut bytes = encoded(|e| e.string("hi"));
    bytes[15] = 1;
    rejects(
        &bytes,
        async |d| d.short("greeting").await,
        "bad `greeting` at offset 10: expected zero bytes as padding, found \
         b\"\\0\\0\\0\\0\\0\\x01\"",
    );
}

#[test]
fn strings_are_text_where_they_have_to_be() {
    let bytes = encoded(|e| e.bytes(b"\xff"));
    rejects(
        &bytes,
        async |d| d.short("name").await,
        "bad `name` at offset 0: expected UTF-8 text, found invalid utf-8 sequence of 1 bytes \
         from index 0",
    );
    let text = decode(&bytes, &store_dir(), async |d| d.text("text").await);
    assert_eq!(text.unwrap().as_bytes(), b"\xff");
}

#[test]
fn the_end_comes_at_the_end() {
    rejects(
        &[0; 9],
        async |d| d.u64("number").await,
        "bad `message` at offset 8: expected the end of the message, found 1 more bytes",
    );
    rejects(
        &[0; 7],
        async |d| d.u64("number").await,
        "bad `number` at offset 0: expected 8 bytes, found the end of the stream",
    );
}

#[test]
fn paths_are_below_the_store_directory() {
    let bytes = encoded(|e| e.string("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"));
    let error = decode(&bytes, &store_dir(), async |d| d.path("path").await).unwrap_err();
    assert_eq!(error.expected, "a store path below `/some/other/store`");
    let none = decode(&[0; 8], &store_dir(), async |d| {
        d.optional_path("path").await
    });
    assert_eq!(none.unwrap(), None);
}

#[test]
fn all_strings_of_a_message_have_one_budget() {
    let source = Source::default();
    let limits = Limits {
        message: 100,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(source.clone(), store_dir(), limits);
    source.push(&encoded(|e| e.string(&"x".repeat(60))));
    source.push(&encoded(|e| e.string(&"x".repeat(60))));
    let mut read = async || decoder.text("text").await;
    let mut both = pin!(async {
        read().await?;
        read().await
    });
    let Poll::Ready(Err(error)) = both.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("the second string is too much")
    };
    assert_eq!(
        error.to_string(),
        "bad `text` at offset 72: expected a string of at most 24 bytes, found 60 bytes"
    );
}

#[test]
fn a_decoder_waits_for_its_bytes() {
    let source = Source::default();
    let mut decoder = Decoder::new(source.clone(), store_dir(), Limits::default());
    let mut read = pin!(decoder.text("text"));
    let context = &mut Context::from_waker(Waker::noop());
    for byte in encoded(|e| e.string("hello")) {
        assert!(read.as_mut().poll(context).is_pending());
        assert!(source.is_starving());
        source.push(&[byte]);
    }
    let Poll::Ready(Ok(text)) = read.as_mut().poll(context) else {
        panic!("all of it is here")
    };
    assert_eq!(text.as_bytes(), b"hello");
    assert!(!source.is_starving());
}
