//! The program that is copied to machines: what it is, and its content hash.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::elf::{Elf, ElfError};

/// The SHA-256 of a program, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(String);

impl ContentHash {
    /// The hash of bytes at hand.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// The hash of everything that `source` holds.
    pub fn read(source: &mut impl io::Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(Self::from_digest(&hasher.finalize())),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Its beginning, which people can compare.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A program that machines can be given.
#[derive(Debug)]
pub struct Binary {
    /// Its name in messages.
    pub path: PathBuf,
    /// Its content hash.
    pub hash: ContentHash,
    /// Its size in bytes.
    pub size: u64,
    /// What it runs on.
    pub elf: Elf,
    file: File,
}

/// Why a program cannot be given to machines.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It cannot be read.
    #[error("cannot read the program `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no program.
    #[error("`{}` is no program for Linux", path.display())]
    NotAProgram {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
    /// It needs libraries that other machines may not have.
    #[error("`{}` is not linked statically, so that it may not run on other machines", path.display())]
    Dynamic {
        /// The file.
        path: PathBuf,
    },
}

impl BinaryError {
    /// Whether the file is at fault, rather than the disk.
    pub fn is_users(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NotAProgram { .. } => {
                Some("`--binary` names the program `musher` itself, for that machine".to_owned())
            }
            Self::Dynamic { .. } => Some(
                "build musher with `-C target-feature=+crt-static`, as its own repository does, \
                 and name the program with `--binary`"
                    .to_owned(),
            ),
        }
    }
}

impl Binary {
    /// The program that this process runs, also where its file was replaced or
    /// removed meanwhile.
    pub fn own() -> Result<Self, BinaryError> {
        Self::open(Path::new("/proc/self/exe"))
    }

    /// The program `path`.
    pub fn open(path: &Path) -> Result<Self, BinaryError> {
        let failed = |source| BinaryError::Read {
            path: path.to_path_buf(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut head = Vec::new();
        let limit = Elf::HEAD as u64;
        file.by_ref()
            .take(limit)
            .read_to_end(&mut head)
            .map_err(failed)?;
        let elf = Elf::parse(&head).map_err(|source| BinaryError::NotAProgram {
            path: path.to_path_buf(),
            source,
        })?;
        if !elf.is_static {
            let path = std::fs::read_link(path).unwrap_or_else(|_| path.to_path_buf());
            return Err(BinaryError::Dynamic { path });
        }
        file.rewind().map_err(failed)?;
        let hash = ContentHash::read(&mut file).map_err(failed)?;
        let size = file.stream_position().map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            hash,
            size,
            elf,
            file,
        })
    }

    /// The program's bytes, from the first.
    pub(crate) fn content(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        assert_eq!(
            ContentHash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let read = ContentHash::read(&mut &b"abc"[..]).expect("read");
        assert_eq!(read.short(), "ba7816bf8f01");
    }

    #[test]
    fn scripts_and_dynamic_programs_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").expect("written");
        let error = Binary::open(&script).expect_err("refused");
        assert!(matches!(error, BinaryError::NotAProgram { .. }));
        let error = Binary::open(Path::new("/bin/sh")).expect_err("refused");
        assert!(matches!(error, BinaryError::Dynamic { .. }) && error.help().is_some());
    }

    #[test]
    fn this_very_program_can_be_read_twice() {
        let own = Binary::own().expect("static, as .cargo/config.toml has it");
        for _ in 0..2 {
            let mut content = own.content().expect("open");
            let hash = ContentHash::read(&mut content).expect("read");
            assert_eq!(hash, own.hash);
        }
        assert_eq!(
            own.elf.architecture.as_deref(),
            Some(std::env::consts::ARCH)
        );
    }
}
