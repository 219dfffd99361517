//! The last of the three processes: makes the sandbox around itself, gives up
//! what it may do, and becomes the build program.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::execute::Executable;
use super::mounts::{Access, Calls, Failed, Source};
use super::tree::{self, Kind, Tree};
use super::{environment, execute, failure, filter, identity, landlock, mounts};
use crate::error::{Attempt, SetupError};
use crate::plan::{Plan, Program, Step};
use crate::request::{Bind, Identity};

/// Enough for the few small files of the root directory and for mount points.
const ROOT_OPTIONS: &CStr = c"mode=0755,size=16m";

/// Makes the sandbox and runs the program. Returns only from a rehearsal.
pub(super) fn enter(plan: &Plan) -> Result<(), SetupError> {
    rustix::process::umask(Mode::empty());
    // While its file can still be seen.
    let own = Executable::own()?;
    environment::name_host()?;
    if !plan.host_network {
        environment::raise_loopback()?;
    }
    make_root(plan)?;
    environment::leave_keys()?;
    if let Identity::Slot(outside) = plan.identity {
        identity::become_slot(plan.inside, outside, plan.kvm)?;
    }
    settle(plan)?;
    if plan.host_network {
        landlock::scope()?;
    }
    if let Some(program) = &plan.program {
        execute::refuse(&program.path, own)?;
        run(plan, program)?;
    }
    Ok(())
}

/// Without a sandbox: what needs no namespace is done all the same.
pub(super) fn enter_bare(plan: &Plan) -> Result<(), SetupError> {
    if let Identity::Slot(ids) = plan.identity {
        identity::leave_root(ids, plan.kvm)?;
    }
    settle(plan)?;
    if let Some(program) = &plan.program {
        run(plan, program)?;
    }
    Ok(())
}

fn settle(plan: &Plan) -> Result<(), SetupError> {
    environment::limit(&plan.limits)?;
    environment::personality(plan.personality)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    identity::drop_privileges()
}

fn run(plan: &Plan, program: &Program) -> Result<Infallible, SetupError> {
    rustix::process::chdir(&program.dir).map_err(failure(Attempt::EnterDirectory, &program.dir))?;
    if plan.filter_syscalls {
        filter::install()?;
    }
    execute::run(program)
}

/// Makes a root directory of its own, and leaves the machine's.
fn make_root(plan: &Plan) -> Result<(), SetupError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(failure(Attempt::PrivateMounts, "/"))?;
    let calls = Calls::of(plan.mounts).map_err(failure(Attempt::MountRoot, &plan.root))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    make_if_missing(&plan.root)
        .and_then(|()| rustix::mount::mount("none", &plan.root, "tmpfs", flags, ROOT_OPTIONS))
        .map_err(failure(Attempt::MountRoot, &plan.root))?;
    let tree = Tree::open(&plan.root).map_err(failure(Attempt::MountRoot, &plan.root))?;
    let group = match plan.identity {
        Identity::Rootless => None,
        Identity::Slot(ids) => Some(Gid::from_raw(ids.gid)),
    };
    let make = Make {
        calls: &calls,
        tree: &tree,
        group,
    };
    for step in &plan.steps {
        make.step(step)?;
    }
    change_root(&tree)
}

/// The old root is stacked upon the new one, and taken away.
fn change_root(tree: &Tree) -> Result<(), SetupError> {
    rustix::process::fchdir(tree.root())
        .and_then(|()| rustix::process::pivot_root(".", "."))
        .and_then(|()| rustix::mount::unmount(".", UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(failure(Attempt::ChangeRoot, tree.path()))
}

/// Carries out the steps of a plan.
struct Make<'a> {
    calls: &'a Calls,
    tree: &'a Tree,
    /// The group that own directories are given to, where that is another's.
    group: Option<Gid>,
}

impl Make<'_> {
    fn step(&self, step: &Step) -> Result<(), SetupError> {
        match step {
            Step::Directory { path, mode } => self.tree.make_directory(path, *mode).map(drop),
            Step::File { path, text } => self.tree.write_file(path, text),
            Step::Link { path, to } => self.tree.make_link(path, to),
            Step::Own {
                source,
                target,
                mode,
            } => self.own(source, target, *mode),
            Step::Bind { bind, follow } => self.bind(bind, *follow),
            Step::Device { path } => self.device(path),
            Step::Inputs {
                source,
                target,
                names,
            } => self.inputs(source, target, names),
            Step::Proc => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                self.fresh(Attempt::MountProc, "/proc", "proc", flags, "")
            }
            Step::Shm { size } => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV;
                let options = format!("mode=1777,size={size}");
                self.fresh(Attempt::MountShm, "/dev/shm", "tmpfs", flags, &options)
            }
            Step::Terminals => self.terminals(),
            Step::Close { path } => {
                let mount = self.tree.directory(path)?;
                mounts::close(self.calls, mount.as_fd()).map_err(failure(Attempt::Restrict, path))
            }
        }
    }

    fn own(&self, source: &Path, target: &Path, mode: Option<u32>) -> Result<(), SetupError> {
        if let Some(mode) = mode {
            make_if_missing(source)
                .and_then(|()| {
                    rustix::fs::chownat(
                        rustix::fs::CWD,
                        source,
                        None,
                        self.group,
                        AtFlags::SYMLINK_NOFOLLOW,
                    )
                })
                // After the owner: changing it takes bits away.
                .and_then(|()| rustix::fs::chmod(source, Mode::from_raw_mode(mode)))
                .map_err(failure(Attempt::MakeDirectory, source))?;
        }
        let found = self.find(source, false)?;
        let place = self.tree.target(target, Kind::Directory)?;
        found
            .mount(place.as_fd(), Access::Writable)
            .map_err(|failed| failed.of(target))
    }

    fn bind(&self, bind: &Bind, follow: bool) -> Result<(), SetupError> {
        let found = match self.find(&bind.source, follow) {
            Err(error) if bind.optional && error.errno == libc::ENOENT => return Ok(()),
            found => found?,
        };
        let stat = found
            .stat()
            .map_err(failure(Attempt::FindSource, &bind.source))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let to = found
                    .link()
                    .map_err(failure(Attempt::FindSource, &bind.source))?;
                return self.tree.make_link(&bind.target, &to);
            }
            FileType::Directory => Kind::Directory,
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Kind::File,
        };
        let access = match bind.writable {
            _ if bind.source.starts_with("/dev") => Access::Device,
            true => Access::Writable,
            false => Access::ReadOnly,
        };
        let place = self.tree.target(&bind.target, kind)?;
        found
            .mount(place.as_fd(), access)
            .map_err(|failed| failed.of(&bind.target))
    }

    fn device(&self, path: &Path) -> Result<(), SetupError> {
        let found = self.find(path, true)?;
        let place = self.tree.target(path, Kind::File)?;
        found
            .mount(place.as_fd(), Access::Device)
            .map_err(|failed| failed.of(path))
    }

    fn inputs(&self, source: &Path, target: &Path, names: &[String]) -> Result<(), SetupError> {
        use rustix::fs::OFlags;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = rustix::fs::open(source, flags, Mode::empty())
            .map_err(failure(Attempt::FindSource, source))?;
        let to = self.tree.directory(target)?;
        for name in names {
            let found = Source::find(self.calls, from.as_fd(), name.as_str(), false)
                .map_err(failure(Attempt::FindSource, source.join(name)))?;
            self.input(found, &to, name)
                .map_err(|failed| match failed {
                    Err(errno) => failure(Attempt::MakeTarget, target.join(name))(errno),
                    Ok(failed) => failed.of(&target.join(name)),
                })?;
        }
        Ok(())
    }

    /// One store path: most are directories, some are files, few are links.
    fn input(
        &self,
        found: Source<'_>,
        to: &std::os::fd::OwnedFd,
        name: &str,
    ) -> Result<(), Result<Failed, Errno>> {
        let stat = found.stat().map_err(Err)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let text = found.link().map_err(Err)?;
                return rustix::fs::symlinkat(&text, to, name).map_err(Err);
            }
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(Err(Errno::INVAL)),
        };
        let place = tree::target_in(to.as_fd(), OsStr::new(name), kind).map_err(Err)?;
        found.mount(place.as_fd(), Access::ReadOnly).map_err(Ok)
    }

    /// A file system of the kernel's own.
    fn fresh(
        &self,
        attempt: Attempt,
        path: &str,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<(), SetupError> {
        let place = self.tree.target(Path::new(path), Kind::Directory)?;
        let options = CString::new(options).map_err(|_| failure(attempt, path)(Errno::INVAL))?;
        let place = mounts::by_descriptor(place.as_fd());
        rustix::mount::mount("none", place, kind, flags, options.as_c_str())
            .map_err(failure(attempt, path))
    }

    fn terminals(&self) -> Result<(), SetupError> {
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        let options = "newinstance,mode=0620,ptmxmode=0666";
        self.fresh(
            Attempt::MountTerminals,
            "/dev/pts",
            "devpts",
            flags,
            options,
        )?;
        let ptmx = Path::new("/dev/ptmx");
        match self.tree.has(ptmx) {
            true => Ok(()),
            false => self.tree.make_link(ptmx, Path::new("/dev/pts/ptmx")),
        }
    }

    fn find(&self, source: &Path, follow: bool) -> Result<Source<'_>, SetupError> {
        Source::find(
            self.calls,
            rustix::fs::CWD,
            source.as_os_str().as_bytes(),
            follow,
        )
        .map_err(failure(Attempt::FindSource, source))
    }
}

fn make_if_missing(path: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        done => done,
    }
}
