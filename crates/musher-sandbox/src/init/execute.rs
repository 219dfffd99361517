//! Becomes the build program.
//!
//! A build program may be, or may name as its interpreter, `/proc/self/exe`: until
//! it runs that is this program's own file, on the machine, reached around every
//! mount of the sandbox. The build would then own a process whose file is ours, and
//! could change that file where it belongs to the same user. So that file is not
//! run, unless by way of a read-only mount, as for builtins.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::{failure, sys};
use crate::error::{Attempt, SetupError};
use crate::plan::Program;

/// How much of a script the kernel looks at, and how many scripts deep.
const FIRST_LINE: usize = 256;
const DEPTH: usize = 6;

/// Which file a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Executable {
    device: u64,
    inode: u64,
}

impl Executable {
    /// This program's own.
    pub(super) fn own() -> Result<Self, SetupError> {
        let path = "/proc/self/exe";
        let stat = rustix::fs::stat(path).map_err(failure(Attempt::FindSource, path))?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Refuses a program that is that file, or whose interpreter is.
pub(super) fn refuse(program: &Path, own: Executable) -> Result<(), SetupError> {
    let mut path = program.to_path_buf();
    for _ in 0..DEPTH {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // What cannot be opened cannot be a script, and is ours only if it is
        // there: the kernel has the last word on it.
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else {
            return match rustix::fs::stat(&path) {
                Ok(stat) if is(&stat, own) => Err(refusal(&path)),
                Ok(_) | Err(_) => Ok(()),
            };
        };
        let stat = rustix::fs::fstat(&file).map_err(failure(Attempt::Execute, &path))?;
        if is(&stat, own) {
            let mount = rustix::fs::fstatvfs(&file).map_err(failure(Attempt::Execute, &path))?;
            if !mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
                return Err(refusal(&path));
            }
        }
        match interpreter(File::from(file)) {
            Some(next) => path = next,
            None => return Ok(()),
        }
    }
    Err(failure(Attempt::Execute, program)(Errno::LOOP))
}

fn is(stat: &rustix::fs::Stat, own: Executable) -> bool {
    Executable {
        device: stat.st_dev,
        inode: stat.st_ino,
    } == own
}

fn refusal(path: &Path) -> SetupError {
    failure(Attempt::Execute, path)(Errno::ACCESS)
}

/// The program that a script names in its first line.
fn interpreter(file: File) -> Option<PathBuf> {
    let mut head = Vec::with_capacity(FIRST_LINE);
    file.take(FIRST_LINE as u64).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let name = line
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}

/// Becomes the program.
pub(super) fn run(program: &Program) -> Result<Infallible, SetupError> {
    let step = || failure(Attempt::Execute, &program.path);
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| step()(Errno::INVAL));
    let path = text(program.path.as_os_str())?;
    let args = program
        .args
        .iter()
        .map(|arg| text(arg))
        .collect::<Result<Vec<_>, _>>()?;
    let env = program
        .env
        .iter()
        .map(|(name, value)| {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            text(&variable)
        })
        .collect::<Result<Vec<_>, _>>()?;
    sys::reset_signals();
    Err(step()(sys::execute(&path, &args, &env)))
}
