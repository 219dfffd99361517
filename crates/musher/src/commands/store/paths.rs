//! Store paths as people name them: in full, something inside of one, or a link
//! like `result`.

use std::fs;
use std::io;
use std::path::Path;

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

/// The store paths that are meant by `given`, in their order. Links may lead to
/// where paths lie, if that is `real_dir` and not the store directory.
pub(super) fn parse_paths(
    store_dir: &StoreDir,
    real_dir: Option<&Path>,
    given: &[String],
) -> Result<Vec<StorePath>, Failure> {
    let real_dir = real_dir.and_then(|dir| fs::canonicalize(dir).ok());
    let real_dir = real_dir.as_deref().and_then(Path::to_str);
    let paths = given.iter().map(|text| parse(store_dir, real_dir, text));
    paths.collect::<Result<_, _>>().map_err(Failure::user)
}

fn parse(
    store_dir: &StoreDir,
    real_dir: Option<&str>,
    given: &str,
) -> Result<StorePath, PathError> {
    let inside = |path: &str| {
        let dirs = [Some(store_dir.as_str()), real_dir].into_iter().flatten();
        dirs.filter_map(|dir| inside(dir, path)).next()
    };
    if let Some(parsed) = inside(given) {
        return parsed;
    }
    let path = || given.to_owned();
    let target = fs::canonicalize(given).map_err(|source| PathError::Follow {
        path: path(),
        source,
    })?;
    inside(&target.to_string_lossy()).unwrap_or_else(|| {
        Err(PathError::Elsewhere {
            path: path(),
            store_dir: store_dir.to_string(),
        })
    })
}

/// The store path that `path` is or lies in, if it is below the directory.
fn inside(dir: &str, path: &str) -> Option<Result<StorePath, PathError>> {
    let rest = path.strip_prefix(dir)?.strip_prefix('/')?;
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
        let parsed = |path: &str| parse(&store_dir, None, path).map(|path| path.to_basename());
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
        let path = parse(&store_dir, None, &link.to_string_lossy()).expect("a path");
        assert_eq!(path.to_basename(), NAME);
    }

    #[test]
    fn links_may_lead_to_where_paths_lie() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().join("home/nix/store");
        fs::create_dir_all(real.join(NAME)).expect("a path");
        let link = dir.path().join("result");
        std::os::unix::fs::symlink(real.join(NAME), &link).expect("a link");
        let given = [link.to_string_lossy().into_owned()];
        let paths = parse_paths(&StoreDir::default(), Some(&real), &given).expect("a path");
        assert_eq!(paths[0].to_basename(), NAME);
        assert!(parse_paths(&StoreDir::default(), None, &given).is_err());
    }
}
