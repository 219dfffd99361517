//! Control groups: the kernel's own accounts and limits for all processes of a
//! build together. Version 2 where a part of the hierarchy is ours and counts
//! memory; version 1 where its directories may be written to; else none, and the
//! books about each process serve.

mod group;
mod hierarchy;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use group::Group;

use crate::ended::Accounting;
use crate::limits::Limits;
use hierarchy::Hierarchies;

/// What the names of our groups begin with.
const PREFIX: &str = "musher-build-";

/// How many groups this process made, by which they are named.
static MADE: AtomicU64 = AtomicU64::new(0);

/// Where this process may make control groups. Found once; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cgroups {
    parents: Arc<Parents>,
}

/// Directories in which each build gets one of its own.
#[derive(Debug)]
enum Parents {
    V2 { parent: PathBuf },
    V1 { parents: Vec<V1Parent> },
    None { why: String },
}

/// One hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
struct V1Parent {
    controller: Controller,
    dir: PathBuf,
}

/// What a group can count and limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Processes,
    Processor,
}

/// A group that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Its directory was refused.
    #[error("cannot make the control group `{path}`")]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A limit was refused.
    #[error("cannot set the limit `{path}`")]
    Limit {
        /// The file that sets it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Cgroups {
    /// Looks where this process is in the hierarchies. On version 2 it moves into
    /// a group beside those of its builds, since a group that has others below it
    /// that count may hold no processes itself. Groups that an earlier process of
    /// ours left behind, with nobody in them, are removed.
    pub fn discover() -> Self {
        let found = Hierarchies::of_this_process();
        let parents = found.map_or_else(
            |error| Parents::None {
                why: format!("cannot read where this process is: {error}"),
            },
            |hierarchies| choose(&hierarchies),
        );
        parents.each(remove_leftovers);
        Self {
            parents: Arc::new(parents),
        }
    }

    /// No control groups, for who does not want them.
    pub fn none() -> Self {
        let why = "not wanted".to_owned();
        Self {
            parents: Arc::new(Parents::None { why }),
        }
    }

    /// Who will count what builds use.
    pub fn accounting(&self) -> Accounting {
        match &*self.parents {
            Parents::V2 { .. } => Accounting::CgroupV2,
            Parents::V1 { .. } => Accounting::CgroupV1,
            Parents::None { .. } => Accounting::Rusage,
        }
    }

    /// Why there are no control groups, where there are none.
    pub fn missing(&self) -> Option<&str> {
        match &*self.parents {
            Parents::V2 { .. } | Parents::V1 { .. } => None,
            Parents::None { why } => Some(why),
        }
    }

    /// Makes the group of one build. Without control groups it is one that nothing
    /// joins and that counts nothing.
    pub fn create(&self, limits: &Limits) -> Result<Group, CgroupError> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        match &*self.parents {
            Parents::V2 { parent } => Group::v2(parent.join(name), limits),
            Parents::V1 { parents } => {
                let dirs = parents.iter().map(|parent| V1Parent {
                    controller: parent.controller,
                    dir: parent.dir.join(&name),
                });
                Group::v1(&dirs.collect::<Vec<_>>(), limits)
            }
            Parents::None { .. } => Ok(Group::none()),
        }
    }
}

impl Parents {
    fn each(&self, mut visit: impl FnMut(&Path)) {
        match self {
            Self::V2 { parent } => visit(parent),
            Self::V1 { parents } => parents.iter().for_each(|parent| visit(&parent.dir)),
            Self::None { .. } => {}
        }
    }
}

/// Version 2 if it can count memory, else version 1 if that can.
fn choose(hierarchies: &Hierarchies) -> Parents {
    let modern = match &hierarchies.v2 {
        Some(own) => v2::parent(own),
        None => Err("no unified hierarchy is mounted".to_owned()),
    };
    let why = match modern {
        Ok(parent) => return Parents::V2 { parent },
        Err(why) => why,
    };
    let usable: Vec<V1Parent> = hierarchies
        .v1
        .iter()
        .filter(|parent| may_write(&parent.dir))
        .cloned()
        .collect();
    if usable
        .iter()
        .any(|parent| parent.controller == Controller::Memory)
    {
        Parents::V1 { parents: usable }
    } else {
        Parents::None { why }
    }
}

fn may_write(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The kernel refuses to remove a group that has processes. One that has none
/// may just have been made, by another process that is there.
fn remove_leftovers(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if maker(&entry.file_name().to_string_lossy()).is_some_and(is_gone) {
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// The process that made the group called `name`, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    let (maker, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    maker.parse().ok()
}

/// Whether no such process can have made a group lately: an earlier one had our
/// own id, if we made none yet.
fn is_gone(maker: u32) -> bool {
    match maker == process::id() {
        true => MADE.load(Ordering::Relaxed) == 0,
        false => !Path::new("/proc").join(maker.to_string()).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_gone, maker};

    #[test]
    fn groups_of_processes_that_are_there_are_no_leftovers() {
        assert_eq!(maker("musher-build-17-3"), Some(17));
        assert_eq!(maker("musher-build-x-3"), None);
        assert_eq!(maker("user.slice"), None);
        assert!(!is_gone(1));
        assert!(is_gone(u32::MAX));
    }
}
