//! Has the host's Nix and us make store paths of the same builds, one after
//! the other in the same store directory, and compares what came of it: paths,
//! contents, references, content addresses, and the words of a refusal.
//!
//! The builds need no sandbox; those with a build program of their own are run
//! by the host's shell.

mod host;
mod ours;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use host::{End, Host};

/// Builds that Nix refuses with other words, and why.
const OTHER_WORDS: [(&str, &str); 6] = [
    ("conflict", "ours are those of a newer Nix"),
    ("fetchMissing", "theirs are curl's"),
    ("fixedProgram", "ours are those of a newer Nix"),
    ("fixedRefers", "Nix 2.8 ends on a broken assertion"),
    ("floatingFlatProgram", "ours are those of a newer Nix"),
    ("floatingFlatRefers", "ours are those of a newer Nix"),
];

#[test]
#[expect(clippy::print_stderr, reason = "a skipped check has to be seen")]
fn builds_come_to_the_same_as_with_nix() {
    let Some(host) = Host::new() else {
        eprintln!("skipped: this host has no Nix, or none that builds here");
        return;
    };
    make_inputs(&host.inputs());
    let derivations = host.instantiate(&fs::read_to_string(expression()).expect("the expression"));
    let theirs = host.build_all(&derivations);
    let before = host.put_away();
    let ours = ours::build_all(&host, &before, &derivations);
    let mut shown = String::new();
    for (name, theirs) in &theirs {
        let ours = &ours[name];
        if !same(name, theirs, ours) {
            shown += &format!("--- {name}\nNix:    {theirs:#?}\nMusher: {ours:#?}\n");
        }
    }
    assert!(shown.is_empty(), "{shown}");
    let succeeded = theirs.values().filter(|end| matches!(end, End::Built(_)));
    assert!(succeeded.count() > 20, "Nix built too little: {theirs:#?}");
    host.verify();
}

fn same(name: &str, theirs: &End, ours: &End) -> bool {
    let mut others = OTHER_WORDS.iter().map(|(other, _)| *other);
    match (theirs, ours) {
        (End::Failed(_), End::Failed(_)) if others.any(|other| other == name) => true,
        (End::Built(theirs), End::Built(ours)) => theirs == ours,
        // Nix says more, on lines of its own.
        (End::Failed(theirs), End::Failed(ours)) => words(theirs).contains(&words(ours)),
        _ => false,
    }
}

/// The text without what differs by the width of a terminal.
fn words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

fn expression() -> String {
    format!(
        "{}/tests/against_nix/outputs.nix",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Two packages, and archives of the first.
fn make_inputs(inputs: &Path) {
    let files: BTreeMap<&str, &str> = [
        ("package/bin/tool", "#!/bin/sh"),
        ("package/share/doc/package", "words"),
        ("package/nix-support/propagated-user-env-packages", ""),
        ("package/lib/only", "x"),
        ("other/bin/tool", "#!/bin/sh"),
        ("other/bin/other", "#!/bin/sh"),
        ("other/share/doc/other", "words"),
        ("file", "hello\n"),
    ]
    .into();
    for (path, text) in files {
        let path = inputs.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let script = "
        set -e
        chmod +x package/bin/tool
        tar cf channel.tar package
        tar cf crowded.tar package other
        gzip -k channel.tar; xz -k channel.tar; bzip2 -k channel.tar
        nix-store --dump package > package.nar
        xz -k package.nar
    ";
    host::succeeds(
        std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .current_dir(inputs),
    );
}
