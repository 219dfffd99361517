//! The program that decides over a build's system calls: those that would give
//! a file what a store cannot hold fail, every other is allowed.
//!
//! As in Nix, no mode with setuid or setgid bits passes (`EPERM`), and extended
//! attributes, of which ACLs are a kind, are unknown (`ENOTSUP`). Beyond Nix this
//! also looks at the mode of files as they are made. What `openat2` and `io_uring`
//! are asked lies in memory, where no filter can look: there the mounts' `nosuid`
//! and the check of outputs hold.
//!
//! A processor that runs 32-bit programs has a second table of numbers for them.
//! On x86-64 there is a third (x32): the first one's numbers with one bit added.

mod tables;

use rustix::io::Errno;

use super::{failure, sys};
use crate::error::{Attempt, SetupError};

/// Loads the 32-bit word at an offset of `struct seccomp_data`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

const SETUID_OR_SETGID: u32 = 0o6000;
/// `O_CREAT`, and the bit that tells `O_TMPFILE` from `O_DIRECTORY`; the same on
/// every architecture of the tables.
const CREATES: u32 = 0o100 | 0o20_000_000;

/// What a rule says of one system call.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Unknown in here.
    Unknown,
    /// Not with these bits in that argument.
    Mode { argument: u32 },
    /// Likewise, where the flags in another argument make a file.
    Create { flags: u32, mode: u32 },
}

/// The system calls of one kind of programs.
struct Table {
    /// What the kernel calls the kind (`AUDIT_ARCH_…`).
    architecture: u32,
    /// A bit to leave out of numbers.
    ignored: u32,
    rules: &'static [(u32, Rule)],
}

/// Has the kernel ask the program from now on. The process must have given up
/// new privileges.
pub(super) fn install() -> Result<(), SetupError> {
    let installed = match tables::NATIVE {
        [] => Err(Errno::NOSYS),
        tables => sys::filter(&program(tables)),
    };
    installed.map_err(failure(Attempt::Filter, ""))
}

fn program(tables: &[Table]) -> Vec<libc::sock_filter> {
    let mut program = vec![line(LOAD, ARCHITECTURE)];
    for table in tables {
        let body = body(table);
        program.push(jump(JUMP_IF_EQUAL, table.architecture, 1, 0));
        program.push(line(JUMP, u32::try_from(body.len()).unwrap_or(u32::MAX)));
        program.extend(body);
    }
    // No such program runs on this processor.
    program.push(line(RETURN, KILL_PROCESS));
    program
}

/// What is done with a call of one table: linear, as the kernel remembers the
/// calls that are always allowed (since Linux 5.11) and does not ask for them.
fn body(table: &Table) -> Vec<libc::sock_filter> {
    let mut body = vec![line(LOAD, NUMBER)];
    if table.ignored != 0 {
        body.push(line(AND, !table.ignored));
    }
    for (number, rule) in table.rules {
        let lines = consequence(*rule);
        let length = u8::try_from(lines.len()).unwrap_or(u8::MAX);
        body.push(jump(JUMP_IF_EQUAL, *number, 0, length));
        body.extend(lines);
    }
    body.push(line(RETURN, ALLOW));
    body
}

fn consequence(rule: Rule) -> Vec<libc::sock_filter> {
    let refuse = |errno: i32| line(RETURN, REFUSE | errno.unsigned_abs());
    let mode = |argument| {
        [
            load_argument(argument),
            jump(JUMP_IF_ANY_BIT, SETUID_OR_SETGID, 0, 1),
            refuse(libc::EPERM),
            line(RETURN, ALLOW),
        ]
    };
    match rule {
        Rule::Unknown => vec![refuse(libc::ENOTSUP)],
        Rule::Mode { argument } => mode(argument).to_vec(),
        Rule::Create {
            flags,
            mode: argument,
        } => {
            let mut lines = vec![load_argument(flags), jump(JUMP_IF_ANY_BIT, CREATES, 0, 3)];
            lines.extend(mode(argument));
            lines
        }
    }
}

/// The low half of an argument: flags and modes have no more.
fn load_argument(index: u32) -> libc::sock_filter {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    line(LOAD, ARGUMENTS + 8 * index + low)
}

fn line(code: u16, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
