//! Removing what Musher put on a machine, and nothing else. Knows the script for
//! it, not how it gets there. Pure.

use super::binary::ContentHash;
use super::script::Script;
use super::shim::ShimScript;

/// What is to be removed from a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaning {
    /// Everything of ours.
    All,
    /// The shim and the programs, while a worker's state was there before.
    Files,
    /// The program of this hash.
    Program(ContentHash),
}

/// What came of it. All paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Directories that are gone.
    pub removed: Vec<String>,
    /// Directories in which nothing of ours is left, but something else is.
    pub left: Vec<String>,
}

impl Cleaning {
    /// The script that removes it where `shim` is.
    pub(crate) fn script(&self, shim: &ShimScript) -> Script {
        let (state, hash) = match self {
            Self::All => (shim.state.as_str(), String::new()),
            Self::Files => ("", String::new()),
            Self::Program(hash) => ("", hash.to_string()),
        };
        Script::new(include_str!("clean.sh"))
            .set("files", &shim.files)
            .set("state", state)
            .set("hash", &hash)
    }
}

impl Cleaned {
    /// Reads the lines that the script printed.
    pub(crate) fn of(said: &[String]) -> Self {
        let all = |word: &str| {
            let paths = said.iter().filter_map(|line| line.strip_prefix(word));
            paths.map(str::to_owned).collect()
        };
        Self {
            removed: all("removed "),
            left: all("left "),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use tempfile::TempDir;

    use super::*;
    use crate::enrol::script::Answer;

    /// A directory with files at these paths, and the shim of one where
    /// `musher` is the directory of ours.
    fn machine(files: &[&str]) -> (TempDir, ShimScript) {
        let dir = tempfile::tempdir().expect("a directory");
        let ours = dir.path().join("musher").display().to_string();
        let shim = ShimScript::new(&ours, &format!("{ours}/state")).expect("a plain path");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "").expect("written");
        }
        (dir, shim)
    }

    fn clean(shim: &ShimScript, what: &Cleaning) -> Cleaned {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(&what.script(shim).render())
            .expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("sh ends");
        assert!(output.status.success());
        let said = Answer::parse(&output.stdout).expect("a mark").text();
        assert_eq!(said.lines().last(), Some("done"));
        Cleaned::of(&said.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    /// The files below `dir`, in order.
    fn files(dir: &Path) -> Vec<String> {
        let found = Command::new("find")
            .args([".", "-type", "f"])
            .current_dir(dir)
            .output()
            .expect("find ends");
        let text = String::from_utf8(found.stdout).expect("text");
        let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_ours_goes_and_what_is_not_stays() {
        let hash = ContentHash::of(b"program");
        let program = format!("musher/{hash}/musher");
        let ours = [
            &program,
            "musher/shim",
            "musher/shim.77",
            "musher/current",
            "musher/new.77/musher",
            "musher/state/store/nix/store/x",
        ];
        let (dir, shim) = machine(&ours);
        fs::write(dir.path().join("thesis"), "").expect("written");
        let cleaned = clean(&shim, &Cleaning::All);
        assert_eq!(cleaned.removed, [shim.state.clone(), shim.files.clone()]);
        assert_eq!(cleaned.left, Vec::<String>::new());
        assert_eq!(files(dir.path()), ["./thesis"]);

        let (dir, shim) = machine(&ours);
        for theirs in ["musher/thesis", "musher/beef/x"] {
            let path = dir.path().join(theirs);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "").expect("written");
        }
        let cleaned = clean(&shim, &Cleaning::All);
        assert_eq!(cleaned.removed, [shim.state.as_str()]);
        assert_eq!(cleaned.left, [shim.files.as_str()]);
        assert_eq!(files(dir.path()), ["./musher/beef/x", "./musher/thesis"]);
    }

    #[test]
    fn less_can_be_removed_than_all() {
        let hash = ContentHash::of(b"program");
        let program = format!("musher/{hash}/musher");
        let all = [&program, "musher/shim", "musher/state/x"];
        let (dir, shim) = machine(&all);
        clean(&shim, &Cleaning::Program(hash));
        assert_eq!(files(dir.path()), ["./musher/shim", "./musher/state/x"]);
        clean(&shim, &Cleaning::Files);
        assert_eq!(files(dir.path()), ["./musher/state/x"]);
        // A second time there is nothing to do.
        clean(&shim, &Cleaning::All);
        assert_eq!(clean(&shim, &Cleaning::All), Cleaned::default());
        assert_eq!(files(dir.path()), Vec::<String>::new());
    }
}
