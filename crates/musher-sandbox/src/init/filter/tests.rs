//! What the filter decides over each call, by running its program.

use super::{ALLOW, KILL_PROCESS, REFUSE, program, tables};

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;

/// Runs the program as the kernel would.
fn decide(architecture: u32, number: u32, arguments: [u64; 4]) -> u32 {
    let program = program(tables::NATIVE);
    let mut data = [0u8; 64];
    data[..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&architecture.to_ne_bytes());
    for (index, argument) in arguments.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_ne_bytes());
    }
    let (mut at, mut value) = (0, 0u32);
    loop {
        let line = program[at];
        at += 1;
        match line.code {
            super::LOAD => {
                let from = line.k as usize;
                value = u32::from_ne_bytes(data[from..from + 4].try_into().expect("four bytes"));
            }
            super::AND => value &= line.k,
            super::JUMP => at += line.k as usize,
            super::JUMP_IF_EQUAL => {
                at += usize::from(if value == line.k { line.jt } else { line.jf });
            }
            super::JUMP_IF_ANY_BIT => {
                at += usize::from(if value & line.k != 0 {
                    line.jt
                } else {
                    line.jf
                });
            }
            super::RETURN => return line.k,
            code => panic!("no such instruction: {code:#x}"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;

    const EPERM: u32 = REFUSE | 1;
    const ENOTSUP: u32 = REFUSE | 95;

    #[test]
    fn modes_are_looked_at_in_every_table() {
        for mode in [0o4755, 0o2755, 0o6000] {
            assert_eq!(decide(X86_64, 90, [0, mode, 0, 0]), EPERM, "chmod {mode:o}");
            assert_eq!(
                decide(X86_64, 91, [0, mode, 0, 0]),
                EPERM,
                "fchmod {mode:o}"
            );
            assert_eq!(
                decide(X86_64, 268, [0, 0, mode, 0]),
                EPERM,
                "fchmodat {mode:o}"
            );
            assert_eq!(
                decide(X86_64, 452, [0, 0, mode, 0]),
                EPERM,
                "fchmodat2 {mode:o}"
            );
            assert_eq!(
                decide(X86_64, X32 | 90, [0, mode, 0, 0]),
                EPERM,
                "x32 chmod {mode:o}"
            );
            assert_eq!(
                decide(X86, 15, [0, mode, 0, 0]),
                EPERM,
                "32-bit chmod {mode:o}"
            );
            assert_eq!(
                decide(X86, 452, [0, 0, mode, 0]),
                EPERM,
                "32-bit fchmodat2 {mode:o}"
            );
        }
        for mode in [0o755, 0o1777, 0] {
            assert_eq!(decide(X86_64, 90, [0, mode, 0, 0]), ALLOW, "chmod {mode:o}");
            assert_eq!(
                decide(X86, 15, [0, mode, 0, 0]),
                ALLOW,
                "32-bit chmod {mode:o}"
            );
        }
    }

    #[test]
    fn the_mode_of_open_counts_only_where_a_file_is_made() {
        const CREATE: u64 = 0o101;
        assert_eq!(decide(X86_64, 257, [0, 0, CREATE, 0o4755]), EPERM);
        assert_eq!(decide(X86_64, 257, [0, 0, 0o20_200_001, 0o4755]), EPERM);
        assert_eq!(decide(X86_64, 257, [0, 0, CREATE, 0o644]), ALLOW);
        assert_eq!(decide(X86_64, 257, [0, 0, 0, 0o4755]), ALLOW);
        assert_eq!(decide(X86_64, 2, [0, CREATE, 0o2755, 0]), EPERM);
        assert_eq!(decide(X86, 5, [0, CREATE, 0o2755, 0]), EPERM);
        assert_eq!(decide(X86, 295, [0, 0, CREATE, 0o2755]), EPERM);
    }

    #[test]
    fn attributes_are_unknown() {
        for number in (188..=196).chain(463..=465) {
            assert_eq!(decide(X86_64, number, [0; 4]), ENOTSUP, "{number}");
            assert_eq!(
                decide(X86_64, X32 | number, [0; 4]),
                ENOTSUP,
                "x32 {number}"
            );
        }
        for number in (226..=234).chain(463..=465) {
            assert_eq!(decide(X86, number, [0; 4]), ENOTSUP, "32-bit {number}");
        }
    }

    #[test]
    fn everything_else_is_allowed() {
        let known = |number: &u32| tables::NATIVE[0].rules.iter().any(|(of, _)| of == number);
        for number in (0..500).filter(|number| !known(number)) {
            assert_eq!(decide(X86_64, number, [0o6777; 4]), ALLOW, "{number}");
        }
        // The same numbers mean something else in the other table.
        assert_eq!(decide(X86, 90, [0, 0o4755, 0, 0]), ALLOW);
    }

    #[test]
    fn what_cannot_run_here_is_killed() {
        assert_eq!(decide(0xc000_00b7, 52, [0; 4]), KILL_PROCESS);
    }
}
