//! Store paths as people name them: in full, something inside of one, or a link
//! like `result`.

use std::fs;
use std::io;

use nix_derivation::{StoreDir, StorePath};

use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
enum PathError {
    #[error("`{path}` is no store path")]
    NotAPath {
        path: String,
        source: nix_derivation::store_path::Error,
    },
    #[error("`{path}` does not lead into the store directory `{store_dir}`")]
    Elsewhere { path: String, store_dir: String },
    #[error("cannot follow `{path}`")]
    Follow { path: String, source: io::Error },
}

/// The store paths that are meant by `given`, in their order.
pub(super) fn parse_paths(
    store_dir: &StoreDir,
    given: &[String],
) -> Result<Vec<StorePath>, Failure> {
    let paths = given.iter().map(|text| parse(store_dir, text));
    paths.collect::<Result<_, _>>().map_err(Failure::user)
}

fn parse(store_dir: &StoreDir, given: &str) -> Result<StorePath, PathError> {
    if let Some(parsed) = inside(store_dir, given) {
        return parsed;
    }
    let path = || given.to_owned();
    let target = fs::canonicalize(given).map_err(|source| PathError::Follow {
        path: path(),
        source,
    })?;
    inside(store_dir, &target.to_string_lossy()).unwrap_or_else(|| {
        Err(PathError::Elsewhere {
            path: path(),
            store_dir: store_dir.to_string(),
        })
    })
}

/// The store path that `path` is or lies in, if it is below the store directory.
fn inside(store_dir: &StoreDir, path: &str) -> Option<Result<StorePath, PathError>> {
    let rest = path.strip_prefix(store_dir.as_str())?.strip_prefix('/')?;
    let name = rest.split('/').next()?;
    let parsed = StorePath::from_basename(name.as_bytes());
    Some(parsed.map_err(|source| PathError::NotAPath {
        path: path.to_owned(),
        source,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "mh3rz2qzm0lrcxk22g2b1kifak7q2nj9-x.drv";

    #[test]
    fn what_lies_inside_means_the_path() {
        let store_dir = StoreDir::new("/team/store").expect("a store directory");
        let parsed = |path: &str| parse(&store_dir, path).map(|path| path.to_basename());
        for path in [NAME.to_owned(), format!("{NAME}/bin/x")] {
            let name = parsed(&format!("/team/store/{path}")).expect("a path");
            assert_eq!(name, NAME);
        }
        let error = parsed("/team/store/x").expect_err("no path");
        assert!(matches!(error, PathError::NotAPath { .. }));
        assert!(matches!(parsed("/"), Err(PathError::Elsewhere { .. })));
        let absent = parsed("/nowhere/result");
        assert!(matches!(absent, Err(PathError::Follow { .. })));
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("its path");
        let store_dir = StoreDir::new(dir.join("store").to_string_lossy()).expect("a directory");
        fs::create_dir_all(dir.join("store").join(NAME)).expect("a path");
        let link = dir.join("result");
        std::os::unix::fs::symlink(dir.join("store").join(NAME), &link).expect("a link");
        let path = parse(&store_dir, &link.to_string_lossy()).expect("a path");
        assert_eq!(path.to_basename(), NAME);
    }
}
