//! What running programs use of a store, as `/proc` tells it: their program, where
//! they are, what they have open and mapped, and their environment. Nix looks at
//! the same (`findRuntimeRoots`). Of programs that this user may not look at
//! nothing is known.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix_derivation::StorePath;

use super::super::layout::Layout;
use super::roots::Root;

/// Bytes that are read of one environment. Linux takes less than that from who
/// starts a program, which may name any memory of its own afterwards.
const ENVIRONMENT: u64 = 8 << 20;
/// Bytes that are read of one list of mapped files: more than the most maps that
/// Linux allows a process take, with names of paths.
const MAPS: u64 = 64 << 20;
/// The longest line or variable that is looked at in one piece.
const PIECE: u64 = 256 << 10;
/// Files that name programs which the kernel itself starts.
const KERNEL: [&str; 3] = [
    "sys/kernel/modprobe",
    "sys/kernel/fbsplash",
    "sys/kernel/poweroff_cmd",
];

/// The paths that running programs use, each with one place that says so. `proc`
/// is where the kernel tells; where it does not, nothing is found.
pub(super) fn running(layout: &Layout, proc: &Path) -> Vec<Root> {
    let mut search = Search {
        called: beginning(Path::new(layout.store_dir.as_str())),
        lies: beginning(&layout.store),
        found: BTreeMap::new(),
    };
    for name in KERNEL {
        search.pieces(&proc.join(name), b'\n', PIECE);
    }
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        if is_process(&entry) {
            search.process(&entry.path());
        }
    }
    let roots = search.found.into_iter();
    roots
        .map(|(path, link)| Root {
            path,
            link: Some(link),
        })
        .collect()
}

fn is_process(entry: &DirEntry) -> bool {
    entry.file_name().as_bytes().iter().all(u8::is_ascii_digit)
}

/// What paths in `dir` begin with.
fn beginning(dir: &Path) -> Vec<u8> {
    let mut beginning = dir.as_os_str().as_bytes().to_vec();
    beginning.push(b'/');
    beginning
}

struct Search {
    /// What paths begin with as they are called, also by programs that see the
    /// store elsewhere, like builds.
    called: Vec<u8>,
    /// And where they lie.
    lies: Vec<u8>,
    found: BTreeMap<StorePath, PathBuf>,
}

impl Search {
    /// A process may end, or be somebody else's, at any of these.
    fn process(&mut self, process: &Path) {
        for name in ["exe", "cwd"] {
            self.link(&process.join(name));
        }
        for entry in fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            self.link(&entry.path());
        }
        self.pieces(&process.join("maps"), b'\n', MAPS);
        self.pieces(&process.join("environ"), 0, ENVIRONMENT);
    }

    fn link(&mut self, link: &Path) {
        if let Ok(target) = fs::read_link(link) {
            self.path(target.as_os_str().as_bytes(), link);
        }
    }

    /// Looks at the text of a file, `most` bytes of it, in pieces that end with
    /// `end`.
    fn pieces(&mut self, file: &Path, end: u8, most: u64) {
        let Ok(text) = File::open(file) else {
            return;
        };
        // What was read before a process ended counts.
        let _ = for_each_piece(BufReader::new(text.take(most)), end, |piece| {
            match file.ends_with("maps") {
                true => self.mapped(piece, file),
                false => self.anywhere(piece, file),
            }
        });
    }

    /// A line of `maps`: the file is the last of its columns.
    fn mapped(&mut self, line: &[u8], file: &Path) {
        if let Some(at) = line.iter().position(|byte| *byte == b'/') {
            self.path(&line[at..], file);
        }
    }

    /// Takes note of `path` if it is in the store.
    fn path(&mut self, path: &[u8], place: &Path) {
        let dirs = [&self.called, &self.lies];
        let inside = dirs.into_iter().find_map(|dir| path.strip_prefix(&dir[..]));
        if let Some(found) = inside.and_then(first) {
            self.note(found, place);
        }
    }

    /// Takes note of all paths in `text`. Where paths lie ends with what they
    /// are called.
    fn anywhere(&mut self, text: &[u8], place: &Path) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
            rest = &rest[at..];
            match rest.strip_prefix(&self.called[..]) {
                Some(inside) => {
                    if let Some(found) = first(inside) {
                        self.note(found, place);
                    }
                    rest = inside;
                }
                None => rest = &rest[1..],
            }
        }
    }

    fn note(&mut self, found: StorePath, place: &Path) {
        self.found.entry(found).or_insert_with(|| place.to_owned());
    }
}

/// The path whose base name `text` begins with.
fn first(text: &[u8]) -> Option<StorePath> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte);
    let end = text.iter().position(|byte| !belongs(byte));
    StorePath::from_basename(&text[..end.unwrap_or(text.len())]).ok()
}

/// Hands over what stands before each `end`, longer pieces in parts.
fn for_each_piece(mut text: impl BufRead, end: u8, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = Vec::new();
    loop {
        piece.clear();
        let read = text.by_ref().take(PIECE).read_until(end, &mut piece)?;
        if read == 0 {
            return Ok(());
        }
        look(&piece);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix_derivation::StoreDir;

    use super::*;

    const HASH: &str = "7rjj86a15146lcag2hb4bmjyqk7kr4b";

    /// What is found in a made-up `/proc` of one process, by its parts.
    fn names(fill: impl FnOnce(&Path)) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let process = dir.path().join("17");
        fs::create_dir_all(process.join("fd")).expect("a directory");
        fill(&process);
        let layout = Layout {
            store_dir: StoreDir::default(),
            store: PathBuf::from("/srv/nix/store"),
            state: PathBuf::from("/srv/nix/var/nix"),
        };
        let roots = running(&layout, dir.path());
        let name = |root: Root| {
            let link = root.link.expect("a place");
            let place = link.strip_prefix(dir.path()).expect("below it");
            format!("{} {}", root.path.name(), place.display())
        };
        roots.into_iter().map(name).collect()
    }

    #[test]
    fn every_place_is_looked_at() {
        let found = names(|process| {
            let called = |name: &str| format!("/nix/store/{HASH}{name}");
            let lies = |name: &str| format!("/srv/nix/store/{HASH}{name}");
            symlink(called("0-exe (deleted)"), process.join("exe")).expect("a link");
            symlink(lies("1-cwd/share"), process.join("cwd")).expect("a link");
            symlink(lies("2-open"), process.join("fd/3")).expect("a link");
            symlink("pipe:[17]", process.join("fd/4")).expect("a link");
            let maps = format!(
                "7f12-7f13 r--p 00000000 fd:01 99  {}\n7f13-7f14 rw-p 00000000 00:00 0\n\
                 7f14-7f15 r--p 00000000 fd:01 98  {}\n",
                called("3-lib/lib/libc.so.6"),
                lies("4-map")
            );
            fs::write(process.join("maps"), maps).expect("written");
            let environ = format!(
                "A=b\0PATH={}:/bin:{}\0C=x{}",
                called("5-first/bin"),
                lies("6-second/bin"),
                called("7-third")
            );
            fs::write(process.join("environ"), environ).expect("written");
        });
        assert_eq!(
            found,
            [
                "exe 17/exe",
                "cwd 17/cwd",
                "open 17/fd/3",
                "lib 17/maps",
                "map 17/maps",
                "first 17/environ",
                "second 17/environ",
                "third 17/environ",
            ]
        );
    }

    #[test]
    fn other_places_keep_nothing() {
        let found = names(|process| {
            let other = format!("/other/nix/store/{HASH}0-x");
            symlink(&other, process.join("cwd")).expect("a link");
            fs::write(process.join("maps"), format!("7f12 {other}\n")).expect("written");
            let environ = format!("A=/nix/store\0B=/nix/store/nonsense\0C=/nix/stores/{HASH}0-x");
            fs::write(process.join("environ"), environ).expect("written");
        });
        assert!(found.is_empty(), "{found:?}");
    }
}
