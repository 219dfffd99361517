//! The numbers of the system calls that the filter knows, for each kind of
//! programs that a processor runs.

use super::{Rule, Table};

/// Since Linux 6.6 and 6.13: numbers are the same everywhere by now.
const FCHMODAT2: u32 = 452;
const SETXATTRAT: u32 = 463;
const GETXATTRAT: u32 = 464;
const LISTXATTRAT: u32 = 465;

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: &[Table] = &[X86_64, X86];
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: &[Table] = &[AARCH64, ARM];
#[cfg(target_arch = "riscv64")]
pub(super) const NATIVE: &[Table] = &[RISCV64];
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) const NATIVE: &[Table] = &[];

/// `chmod` and its kin, and what makes files, by the place of the mode.
const MODE_1: Rule = Rule::Mode { argument: 1 };
const MODE_2: Rule = Rule::Mode { argument: 2 };
const OPEN: Rule = Rule::Create { flags: 1, mode: 2 };
const OPENAT: Rule = Rule::Create { flags: 2, mode: 3 };

/// x32 programs come with the same architecture and a bit in the number.
#[cfg(target_arch = "x86_64")]
const X86_64: Table = Table {
    architecture: 0xc000_003e,
    ignored: 0x4000_0000,
    rules: &[
        (257, OPENAT),
        (2, OPEN),
        (90, MODE_1),  // chmod
        (91, MODE_1),  // fchmod
        (268, MODE_2), // fchmodat
        (FCHMODAT2, MODE_2),
        (85, MODE_1),  // creat
        (133, MODE_1), // mknod
        (259, MODE_2), // mknodat
        (188, Rule::Unknown),
        (189, Rule::Unknown),
        (190, Rule::Unknown), // setxattr, lsetxattr, fsetxattr
        (191, Rule::Unknown),
        (192, Rule::Unknown),
        (193, Rule::Unknown), // getxattr, …
        (194, Rule::Unknown),
        (195, Rule::Unknown),
        (196, Rule::Unknown), // listxattr, …
        (SETXATTRAT, Rule::Unknown),
        (GETXATTRAT, Rule::Unknown),
        (LISTXATTRAT, Rule::Unknown),
    ],
};

#[cfg(target_arch = "x86_64")]
const X86: Table = Table {
    architecture: 0x4000_0003,
    ignored: 0,
    rules: &[
        (295, OPENAT),
        (5, OPEN),
        (15, MODE_1),
        (94, MODE_1),
        (306, MODE_2),
        (FCHMODAT2, MODE_2),
        (8, MODE_1),
        (14, MODE_1),
        (297, MODE_2),
        (226, Rule::Unknown),
        (227, Rule::Unknown),
        (228, Rule::Unknown),
        (229, Rule::Unknown),
        (230, Rule::Unknown),
        (231, Rule::Unknown),
        (232, Rule::Unknown),
        (233, Rule::Unknown),
        (234, Rule::Unknown),
        (SETXATTRAT, Rule::Unknown),
        (GETXATTRAT, Rule::Unknown),
        (LISTXATTRAT, Rule::Unknown),
    ],
};

/// The numbers of architectures that came late: no `open`, `chmod`, `creat`.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const GENERIC: &[(u32, Rule)] = &[
    (56, OPENAT),
    (52, MODE_1), // fchmod
    (53, MODE_2), // fchmodat
    (FCHMODAT2, MODE_2),
    (33, MODE_2), // mknodat
    (5, Rule::Unknown),
    (6, Rule::Unknown),
    (7, Rule::Unknown), // setxattr, …
    (8, Rule::Unknown),
    (9, Rule::Unknown),
    (10, Rule::Unknown), // getxattr, …
    (11, Rule::Unknown),
    (12, Rule::Unknown),
    (13, Rule::Unknown), // listxattr, …
    (SETXATTRAT, Rule::Unknown),
    (GETXATTRAT, Rule::Unknown),
    (LISTXATTRAT, Rule::Unknown),
];

#[cfg(target_arch = "aarch64")]
const AARCH64: Table = Table {
    architecture: 0xc000_00b7,
    ignored: 0,
    rules: GENERIC,
};

#[cfg(target_arch = "riscv64")]
const RISCV64: Table = Table {
    architecture: 0xc000_00f3,
    ignored: 0,
    rules: GENERIC,
};

#[cfg(target_arch = "aarch64")]
const ARM: Table = Table {
    architecture: 0x4000_0028,
    ignored: 0,
    rules: &[
        (322, OPENAT),
        (5, OPEN),
        (15, MODE_1),
        (94, MODE_1),
        (333, MODE_2),
        (FCHMODAT2, MODE_2),
        (8, MODE_1),
        (14, MODE_1),
        (324, MODE_2),
        (226, Rule::Unknown),
        (227, Rule::Unknown),
        (228, Rule::Unknown),
        (229, Rule::Unknown),
        (230, Rule::Unknown),
        (231, Rule::Unknown),
        (232, Rule::Unknown),
        (233, Rule::Unknown),
        (234, Rule::Unknown),
        (SETXATTRAT, Rule::Unknown),
        (GETXATTRAT, Rule::Unknown),
        (LISTXATTRAT, Rule::Unknown),
    ],
};
