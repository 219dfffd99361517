//! Whether this machine runs programs of the 32-bit sibling of `x86_64`: many
//! kernels do, and some were made without. Tries one, since nothing else tells.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

/// A program that ends at once, with status 0.
const PROGRAM: [u8; 93] = program();

/// Where it is loaded.
const ADDRESS: u32 = 0x0804_8000;

/// The lengths of its two headers.
const HEADER: u16 = 52;
const SEGMENT: u16 = 32;

/// `mov eax, 1; xor ebx, ebx; int 0x80`: `exit(0)`.
const CODE: [u8; 9] = [0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];

const fn program() -> [u8; 93] {
    let mut bytes = [0; 93];
    let start = HEADER as u32 + SEGMENT as u32;
    // 32 bits, little-endian, version 1.
    put(&mut bytes, 0, &[0x7f, b'E', b'L', b'F', 1, 1, 1]);
    // An executable, for the i386.
    put(&mut bytes, 16, &[2, 0, 3, 0, 1]);
    put(&mut bytes, 24, &(ADDRESS + start).to_le_bytes());
    put(&mut bytes, 28, &(HEADER as u32).to_le_bytes());
    put(&mut bytes, 40, &HEADER.to_le_bytes());
    put(&mut bytes, 42, &SEGMENT.to_le_bytes());
    put(&mut bytes, 44, &[1]);
    // The whole file is its only segment, to be read and executed.
    let segment = HEADER as usize;
    put(&mut bytes, segment, &[1]);
    put(&mut bytes, segment + 8, &ADDRESS.to_le_bytes());
    put(&mut bytes, segment + 12, &ADDRESS.to_le_bytes());
    put(&mut bytes, segment + 16, &[93]);
    put(&mut bytes, segment + 20, &[93]);
    put(&mut bytes, segment + 24, &[5]);
    put(&mut bytes, segment + 28, &4096_u32.to_le_bytes());
    put(&mut bytes, start as usize, &CODE);
    bytes
}

const fn put(bytes: &mut [u8; 93], at: usize, what: &[u8]) {
    let mut next = 0;
    while next < what.len() {
        bytes[at + next] = what[next];
        next += 1;
    }
}

/// Whether it does. Tried once.
pub(super) fn runs_i686() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| cfg!(target_arch = "x86_64") && runs(&PROGRAM).unwrap_or(false))
}

/// Whether `program` can be run, and ends well.
fn runs(program: &[u8]) -> io::Result<bool> {
    let flags = MemfdFlags::CLOEXEC;
    let made = match memfd_create("musher-i686", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 all of them could be executed.
        Err(Errno::INVAL) => memfd_create("musher-i686", flags),
        made => made,
    };
    let mut file = File::from(made?);
    file.write_all(program)?;
    let status = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_none() {
        assert!(runs(b"no program").is_err());
        // Of a machine that nobody has.
        let mut other = PROGRAM;
        other[18] = 0xfe;
        assert!(runs(&other).is_err());
    }

    #[test]
    fn the_program_is_one_of_i686() {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        // A kernel without 32-bit programs refuses it as it is.
        match runs(&PROGRAM) {
            Ok(well) => assert!(well),
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::NOEXEC.raw_os_error())),
        }
    }
}
