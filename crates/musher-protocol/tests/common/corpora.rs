//! The committed corpora of the fuzz targets.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::Path;

/// Runs `target` on each file of the corpus called `name`.
pub(crate) fn replay(name: &str, target: impl Fn(&[u8])) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    let mut files: Vec<_> = fs::read_dir(root.join(name))
        .unwrap_or_else(|error| panic!("cannot read the corpus `{name}`: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus `{name}` is empty");
    for file in files {
        let input = fs::read(&file).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        assert!(outcome.is_ok(), "`{}` panics", file.display());
    }
}
