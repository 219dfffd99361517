//! A program of the machine's made visible to builds, with what it needs to
//! start: `/bin/sh`, where there is no shell that stands alone. Reads the
//! program's header, and asks the dynamic linker it names for the rest.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use musher_sandbox::Bind;

/// Shells that need no other file, where machines have them.
const ALONE: [&str; 4] = [
    "/bin/busybox",
    "/usr/bin/busybox",
    "/usr/lib/initcpio/busybox",
    "/bin/bash-static",
];

/// The shell that every machine has.
const SHELL: &str = "/bin/sh";

/// The most program headers of a file; real ones have a dozen.
const MOST_HEADERS: u16 = 256;

/// The most bytes of a linker's name, and of its answer.
const MOST: u64 = 64 << 10;

/// A program cannot be made visible.
#[derive(Debug, thiserror::Error)]
pub enum HostProgramError {
    /// Its file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What it needs cannot be found out.
    #[error("cannot ask `{}` what `{}` needs", .linker.display(), .path.display())]
    Needs {
        /// The program.
        path: PathBuf,
        /// Its dynamic linker.
        linker: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What builds need to see for a `/bin/sh`: a shell that stands alone if the
/// machine has one, else its own with the libraries it needs.
pub fn host_shell() -> Result<Vec<Bind>, HostProgramError> {
    for shell in ALONE.map(Path::new) {
        if shell.exists() && linker_of(shell)?.is_none() {
            return Ok(vec![bind(shell, Path::new(SHELL))]);
        }
    }
    host_program(Path::new(SHELL), Path::new(SHELL))
}

/// What builds need to see for `program` of the machine to run as `target`.
pub fn host_program(program: &Path, target: &Path) -> Result<Vec<Bind>, HostProgramError> {
    let mut binds = vec![bind(program, target)];
    if let Some(linker) = linker_of(program)? {
        let failed = |source| HostProgramError::Needs {
            path: program.to_owned(),
            linker: linker.clone(),
            source,
        };
        let answer = needs(&linker, program).map_err(failed)?;
        binds.extend(paths(&answer).map(|path| bind(path, path)));
    }
    Ok(binds)
}

/// Programs and libraries are often links: what they lead to is shown.
fn bind(source: &Path, target: &Path) -> Bind {
    Bind {
        source: fs::canonicalize(source).unwrap_or_else(|_| source.to_owned()),
        target: target.to_owned(),
        writable: false,
        optional: false,
    }
}

/// What `linker` says that `program` needs.
fn needs(linker: &Path, program: &Path) -> io::Result<Vec<u8>> {
    let output = Command::new(linker)
        .arg("--list")
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(format!("it ended with {}", output.status))),
    }
}

/// The paths in a linker's answer.
///
/// ```text
/// answer = (tab (name " => ")? path " (" address ")" newline)*
/// ```
fn paths(answer: &[u8]) -> impl Iterator<Item = &Path> {
    answer.split(|byte| *byte == b'\n').filter_map(|line| {
        let words: Vec<&[u8]> = line.trim_ascii().split(|byte| *byte == b' ').collect();
        let ([_, b"=>", path, ..] | [path, ..]) = words[..] else {
            return None;
        };
        path.starts_with(b"/")
            .then(|| Path::new(OsStr::from_bytes(path)))
    })
}

/// The dynamic linker that the program at `path` names; none for one that
/// stands alone, or is no ELF file.
fn linker_of(path: &Path) -> Result<Option<PathBuf>, HostProgramError> {
    let read = || linker_in(&mut File::open(path)?);
    read().map_err(|source| HostProgramError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The layout of an ELF file, as far as needed, for 32 and for 64 bits.
struct Layout {
    /// Bytes of an offset.
    width: usize,
    /// Where the header has the offset of the program headers.
    headers: usize,
    /// Where it has the length of one, followed by their number.
    header_length: usize,
    /// Where a program header has the offset of its contents.
    offset: usize,
    /// Where it has their length.
    length: usize,
}

const BITS_32: Layout = Layout {
    width: 4,
    headers: 28,
    header_length: 42,
    offset: 4,
    length: 16,
};

const BITS_64: Layout = Layout {
    width: 8,
    headers: 32,
    header_length: 54,
    offset: 8,
    length: 32,
};

/// The type of the program header that names the linker.
const INTERPRETER: u64 = 3;

fn linker_in(file: &mut File) -> io::Result<Option<PathBuf>> {
    let mut header = Vec::new();
    file.take(64).read_to_end(&mut header)?;
    if header.len() < 52 || !header.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let layout = match header[4] {
        1 => BITS_32,
        _ if header.len() == 64 => BITS_64,
        _ => return Ok(None),
    };
    let big = header[5] == 2;
    let start = number(&header, layout.headers, layout.width, big);
    let length = number(&header, layout.header_length, 2, big);
    let count = number(&header, layout.header_length + 2, 2, big).min(MOST_HEADERS.into());
    for index in 0..count {
        file.seek(SeekFrom::Start(start.saturating_add(index * length)))?;
        let mut entry = Vec::new();
        file.take(length).read_to_end(&mut entry)?;
        if entry.len() < 32 || number(&entry, 0, 4, big) != INTERPRETER {
            continue;
        }
        if entry.len() < layout.length + layout.width {
            continue;
        }
        let offset = number(&entry, layout.offset, layout.width, big);
        let length = number(&entry, layout.length, layout.width, big);
        file.seek(SeekFrom::Start(offset))?;
        let mut name = Vec::new();
        file.take(length.min(MOST)).read_to_end(&mut name)?;
        name.truncate(
            name.iter()
                .position(|byte| *byte == 0)
                .unwrap_or(name.len()),
        );
        return Ok(Some(PathBuf::from(OsStr::from_bytes(&name))));
    }
    Ok(None)
}

/// The number of `width` bytes at `at`, which is within `bytes`.
fn number(bytes: &[u8], at: usize, width: usize, big: bool) -> u64 {
    let digits = &bytes[at..at + width];
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    match big {
        true => digits.iter().fold(0, add),
        false => digits.iter().rev().fold(0, add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_a_linkers_answer() {
        let answer = b"\tlinux-vdso.so.1 (0x00007ffc)\n\
            \tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\
            \tlibgone.so => not found\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = paths(answer).collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }

    #[test]
    fn this_test_stands_alone_and_scripts_do_too() {
        let own = std::env::current_exe().expect("a path");
        assert_eq!(linker_of(&own).expect("readable"), None);
        let script = tempfile::NamedTempFile::new().expect("a file");
        fs::write(script.path(), "#!/bin/sh\n").expect("written");
        assert_eq!(linker_of(script.path()).expect("readable"), None);
    }

    #[test]
    fn a_shell_is_found() {
        let binds = host_shell().expect("a shell");
        assert_eq!(binds[0].target, Path::new(SHELL));
        assert!(binds.iter().all(|bind| bind.source.exists()));
    }
}
