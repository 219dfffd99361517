//! Strings, lists, paths and content addresses.

use std::collections::BTreeSet;

use nix_derivation::{CAHash, NixHash};

use crate::{FOO, FOO_BAR, check, path};

pub(crate) fn words(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

pub(crate) fn string(bytes: &[u8]) {
    check(
        bytes,
        &words(&["", "hi", "white rabbit", "大白兔", "oh no "]),
        async |d| d.short("string").await,
        |value, e| e.string(value),
    );
}

pub(crate) fn vector(bytes: &[u8]) {
    let (flat, nested) = lists();
    check(
        bytes,
        &[(flat, nested)],
        async |d| {
            let mut flat = Vec::new();
            for _ in 0..3 {
                flat.push(d.strings("list").await?);
            }
            let mut nested = Vec::new();
            for _ in 0..d.count("lists").await? {
                nested.push(d.strings("list").await?);
            }
            Ok((flat, nested))
        },
        |(flat, nested), e| {
            flat.iter().for_each(|list| e.strings(list));
            e.count(nested.len());
            nested.iter().for_each(|list| e.strings(list));
        },
    );
}

pub(crate) fn lists() -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    (
        vec![words(&[]), words(&[""]), words(&["", "foo", "bar"])],
        vec![words(&[]), words(&[""]), words(&["", "1", "2"])],
    )
}

pub(crate) fn set(bytes: &[u8]) {
    let sets = |lists: Vec<Vec<String>>| -> Vec<BTreeSet<String>> {
        lists.into_iter().map(BTreeSet::from_iter).collect()
    };
    let (flat, nested) = lists();
    let nested: BTreeSet<BTreeSet<String>> = sets(nested).into_iter().collect();
    check(
        bytes,
        &[(sets(flat), nested)],
        async |d| {
            let mut flat = Vec::new();
            for _ in 0..3 {
                flat.push(d.strings("set").await?);
            }
            let mut nested = BTreeSet::new();
            for _ in 0..d.count("sets").await? {
                nested.insert(d.strings("set").await?);
            }
            Ok((flat, nested))
        },
        |(flat, nested), e| {
            flat.iter().for_each(|set| e.strings(set));
            e.count(nested.len());
            nested.iter().for_each(|set| e.strings(set));
        },
    );
}

pub(crate) fn store_path(bytes: &[u8]) {
    check(
        bytes,
        &[path(FOO), path(FOO_BAR)],
        async |d| d.path("path").await,
        |value, e| e.path(value),
    );
}

pub(crate) fn optional_store_path(bytes: &[u8]) {
    check(
        bytes,
        &[None, Some(path(FOO_BAR))],
        async |d| d.optional_path("path").await,
        |value, e| e.optional_path(value.as_ref()),
    );
}

pub(crate) fn sri(hash: &str) -> NixHash {
    NixHash::parse(hash).unwrap()
}

pub(crate) fn nar_ca() -> CAHash {
    CAHash::Nar(sri("sha256-EMIJ+giQ/gLIWoxmPKjno3zHZrxbGymgzGGyZvZBIdM="))
}

pub(crate) fn flat_ca() -> CAHash {
    CAHash::Flat(sri("sha1-gGemBoenViNZM3hiwqns/Fgzqwo="))
}

pub(crate) fn content_address(bytes: &[u8]) {
    let NixHash::Sha256(text) = sri("sha256-+Xc9Ll6mcPltwaewrk/BAQ56Y3G5T//wzhKUc0zrYu0=") else {
        panic!("the hash is a SHA-256 one");
    };
    check(
        bytes,
        &[CAHash::Text(text), flat_ca(), nar_ca()],
        async |d| d.content_address("content address").await,
        |value, e| e.content_address(value),
    );
}

pub(crate) fn optional_content_address(bytes: &[u8]) {
    check(
        bytes,
        &[None, Some(flat_ca())],
        async |d| d.optional_content_address("content address").await,
        |value, e| e.optional_content_address(value.as_ref()),
    );
}
