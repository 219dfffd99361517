//! What a request must keep for a sandbox to be made from it. Settings reach
//! this point as they were typed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::error::PlanError;
use crate::request::{Bind, Identity, Isolation, Request};

pub(super) fn request(request: &Request) -> Result<(), PlanError> {
    strings(request)?;
    plain("the build directory", &request.build_dir)?;
    let outside = match request.identity {
        Identity::Rootless => request.inside,
        Identity::Slot(ids) => ids,
    };
    for ids in [request.inside, outside] {
        if ids.uid == 0 || ids.gid == 0 {
            return Err(PlanError::Root);
        }
    }
    match request.isolation {
        Isolation::None => Ok(()),
        Isolation::Full => places(request),
    }
}

/// The kernel takes strings up to their first NUL: a longer one would arrive as
/// something else.
fn strings(request: &Request) -> Result<(), PlanError> {
    let text = |what: &str, value: &OsStr| match value.as_bytes().contains(&0) {
        true => Err(PlanError::Text {
            what: what.to_owned(),
        }),
        false => Ok(()),
    };
    if request.program.as_os_str().is_empty() || request.args.is_empty() {
        return Err(PlanError::Text {
            what: "the build program".to_owned(),
        });
    }
    text("the build program", request.program.as_os_str())?;
    for arg in &request.args {
        text("an argument", arg)?;
    }
    for (name, value) in &request.env {
        let shown = format!("the variable `{}`", name.display());
        text(&shown, name)?;
        text(&shown, value)?;
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(PlanError::Variable {
                name: name.display().to_string(),
            });
        }
    }
    Ok(())
}

fn places(request: &Request) -> Result<(), PlanError> {
    let (build, store) = (&request.build_dir_inside, &request.store.dir);
    plain("the scratch directory", &request.scratch)?;
    for (what, path) in [
        ("the build directory inside", build),
        ("the store directory", store),
    ] {
        plain(what, path)?;
        not_taken(what, path)?;
    }
    plain("the real store directory", &request.store.real)?;
    if build.starts_with(store) || store.starts_with(build) {
        return Err(PlanError::Overlap {
            build: build.clone(),
            store: store.clone(),
        });
    }
    for name in &request.store.inputs {
        let one = Path::new(name)
            .components()
            .eq([Component::Normal(OsStr::new(name))]);
        if !one || name.contains('\0') {
            return Err(PlanError::Input { name: name.clone() });
        }
    }
    binds(request)
}

fn binds(request: &Request) -> Result<(), PlanError> {
    let own = [&request.store.dir, &request.build_dir_inside];
    let mut seen: BTreeMap<&Path, &Bind> = BTreeMap::new();
    for bind in &request.binds {
        plain("a sandbox path", &bind.target)?;
        plain("the source of a sandbox path", &bind.source)?;
        if bind.source != Path::new("/proc") {
            not_taken("a sandbox path", &bind.target)?;
            if own.iter().any(|path| path.starts_with(&bind.target)) {
                return Err(PlanError::Taken {
                    what: "a sandbox path",
                    path: bind.target.clone(),
                });
            }
        }
        if let Some(first) = seen.insert(&bind.target, bind)
            && first != bind
        {
            return Err(PlanError::Twice {
                target: bind.target.clone(),
                first: first.source.clone(),
                second: bind.source.clone(),
            });
        }
    }
    Ok(())
}

/// Begins at the root and goes straight down.
fn plain(what: &'static str, path: &Path) -> Result<(), PlanError> {
    let straight = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && straight && !path.as_os_str().as_bytes().contains(&0) {
        Ok(())
    } else {
        Err(PlanError::Path {
            what,
            path: path.to_path_buf(),
        })
    }
}

/// What the sandbox itself mounts: something else there would be hidden by it,
/// or hide it.
fn not_taken(what: &'static str, path: &Path) -> Result<(), PlanError> {
    let taken = path == Path::new("/") || path.starts_with("/proc") || path == Path::new("/tmp");
    if taken {
        Err(PlanError::Taken {
            what,
            path: path.to_path_buf(),
        })
    } else {
        Ok(())
    }
}
