//! The head of an ELF file, as far as it tells on which machines the program
//! runs: `e_ident`, `e_machine`, and whether a program header names an
//! interpreter, which is the dynamic linker. Pure.

/// What a program runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// The architecture as `uname -m` has it, where it is one that we know.
    pub architecture: Option<String>,
    /// Whether it needs no libraries.
    pub is_static: bool,
}

/// Why bytes are no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It begins otherwise.
    #[error("it does not begin as an ELF file does")]
    Magic,
    /// A kind of ELF that no Linux machine of ours has.
    #[error("it is an ELF file of an unknown class or byte order")]
    Class,
    /// The headers are not where they should be.
    #[error(
        "its program headers are cut off, or beyond the first {} bytes",
        Elf::HEAD
    )]
    Headers,
}

/// The type of a program header that names the dynamic linker.
const PT_INTERP: u32 = 3;

/// `e_machine`, and what `uname -m` calls it, by byte order.
const MACHINES: [(u16, bool, &str); 9] = [
    (3, true, "i686"),
    (20, false, "ppc"),
    (21, true, "ppc64le"),
    (21, false, "ppc64"),
    (22, false, "s390x"),
    (40, true, "armv7l"),
    (62, true, "x86_64"),
    (183, true, "aarch64"),
    (243, true, "riscv64"),
];

/// Where things stand in the header, by class.
struct Layout {
    /// `e_phoff`, and how wide it is.
    table: (usize, usize),
    /// `e_phentsize`, after which comes `e_phnum`.
    entry_size: usize,
}

const LAYOUT_32: Layout = Layout {
    table: (28, 4),
    entry_size: 42,
};
const LAYOUT_64: Layout = Layout {
    table: (32, 8),
    entry_size: 54,
};

impl Elf {
    /// How many bytes from the start are looked at. Linkers put the program
    /// headers right behind the file's own.
    pub const HEAD: usize = 4096;

    /// Reads the first [`Self::HEAD`] bytes of a file, or all of a shorter one.
    pub fn parse(head: &[u8]) -> Result<Self, ElfError> {
        if !head.starts_with(b"\x7fELF") {
            return Err(ElfError::Magic);
        }
        let layout = match head.get(4) {
            Some(1) => LAYOUT_32,
            Some(2) => LAYOUT_64,
            Some(_) | None => return Err(ElfError::Class),
        };
        let little = match head.get(5) {
            Some(1) => true,
            Some(2) => false,
            Some(_) | None => return Err(ElfError::Class),
        };
        let fields = Fields { head, little };
        let machine = fields.number(18, 2)?;
        let (at, width) = layout.table;
        let table = fields.number(at, width)?;
        let size = fields.number(layout.entry_size, 2)?;
        let count = fields.number(layout.entry_size + 2, 2)?;
        let mut is_static = true;
        for entry in 0..count {
            let kind = fields.number(table.saturating_add(entry * size), 4)?;
            is_static &= kind != PT_INTERP as usize;
        }
        let known = MACHINES
            .iter()
            .find(|(number, order, _)| usize::from(*number) == machine && *order == little);
        Ok(Self {
            architecture: known.map(|(_, _, name)| (*name).to_owned()),
            is_static,
        })
    }
}

/// Numbers of a file's byte order.
struct Fields<'a> {
    head: &'a [u8],
    little: bool,
}

impl Fields<'_> {
    fn number(&self, at: usize, width: usize) -> Result<usize, ElfError> {
        let end = at.checked_add(width).ok_or(ElfError::Headers)?;
        let bytes = self.head.get(at..end).ok_or(ElfError::Headers)?;
        let add = |number: usize, byte: &u8| (number << 8) | usize::from(*byte);
        Ok(match self.little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit header with program headers of these types.
    fn elf64(machine: u16, types: &[u32]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32..40].copy_from_slice(&64_u64.to_le_bytes());
        head[54..56].copy_from_slice(&56_u16.to_le_bytes());
        let count = u16::try_from(types.len()).expect("few");
        head[56..58].copy_from_slice(&count.to_le_bytes());
        for kind in types {
            let start = head.len();
            head.extend_from_slice(&kind.to_le_bytes());
            head.resize(start + 56, 0);
        }
        head
    }

    #[test]
    fn static_programs_name_no_interpreter() {
        let fixed = Elf::parse(&elf64(183, &[1, 1, 2])).expect("a program");
        assert!(fixed.is_static);
        assert_eq!(fixed.architecture.as_deref(), Some("aarch64"));
        let linked = Elf::parse(&elf64(62, &[6, 3, 1])).expect("a program");
        assert!(!linked.is_static);
        let unknown = Elf::parse(&elf64(9999, &[])).expect("a program");
        assert_eq!(unknown.architecture, None);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(Elf::parse(b""), Err(ElfError::Magic));
        assert_eq!(Elf::parse(b"#!/bin/sh"), Err(ElfError::Magic));
        assert_eq!(Elf::parse(b"\x7fELF\x07\x01"), Err(ElfError::Class));
        assert_eq!(Elf::parse(b"\x7fELF\x02\x01"), Err(ElfError::Headers));
        let mut far = elf64(62, &[1]);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Elf::parse(&far), Err(ElfError::Headers));
        let mut cut = elf64(62, &[1, 1]);
        cut.truncate(100);
        assert_eq!(Elf::parse(&cut), Err(ElfError::Headers));
    }
}
