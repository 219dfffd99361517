//! From what the command line names to a path of the home store.

use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::places::absolute;

#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not in the home store, which is below `{store_dir}`")]
struct Elsewhere {
    path: String,
    store_dir: String,
}

/// The store path that `given` is, lies in or leads to. The store's files are in
/// `real_dir`, if that is not empty.
pub(super) fn named_path(given: &str, store_dir: &str, real_dir: &str) -> Result<String, Failure> {
    let path = absolute(Path::new(given))?;
    let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    for place in [&path, &real] {
        for dir in [store_dir, real_dir] {
            let inside = place.strip_prefix(dir).ok().filter(|_| !dir.is_empty());
            let base = inside.and_then(|inside| inside.components().next());
            if let Some(base) = base {
                let base = base.as_os_str().to_string_lossy();
                return Ok(format!("{store_dir}/{base}"));
            }
        }
    }
    Err(Failure::user(Elsewhere {
        path: given.to_owned(),
        store_dir: store_dir.to_owned(),
    }))
}
