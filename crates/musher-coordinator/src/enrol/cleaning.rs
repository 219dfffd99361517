//! Removing what Musher put on a machine, and nothing else. Knows the script for
//! it, not how it gets there. Pure.

use nix_derivation::StoreDir;

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
    /// What came where some of ours was before.
    Back(Remnant),
}

/// What of ours was in a directory that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remnant {
    /// The program that came.
    pub(crate) hash: ContentHash,
    /// Whether it was there before.
    pub(crate) had_program: bool,
    /// Whether the worker's state was.
    pub(crate) had_state: bool,
    /// The program that was installed last.
    pub(crate) current: Option<String>,
    /// The shim.
    pub(crate) shim: Option<Vec<u8>>,
}

/// What came of it. All paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Directories that are gone.
    pub removed: Vec<String>,
    /// Directories in which nothing of ours is left, but something else is.
    pub left: Vec<String>,
    /// Files that are as they were before.
    pub restored: Vec<String>,
}

impl Cleaning {
    /// The script that removes it where `shim` is.
    pub(crate) fn script(&self, shim: &ShimScript) -> Script {
        let store_dir = StoreDir::default();
        let nix = store_dir.as_str().rsplit_once('/');
        let nix = nix.map_or("", |(nix, _)| nix);
        self.script_with(shim, if shim.sandboxed { "" } else { nix })
    }

    /// The same where a worker without a sandbox has its store below `nix`.
    fn script_with(&self, shim: &ShimScript, nix: &str) -> Script {
        // Each is set, whatever the environment there has by these names.
        let script = Script::new(include_str!("clean.sh"))
            .set("files", &shim.files)
            .set("state", "")
            .set("nix", "")
            .set("back", "");
        match self {
            // Nobody else's worker runs from there.
            Self::All => script
                .set("whose", "*")
                .set("state", &shim.state)
                .set("nix", nix),
            Self::Files => script.set("whose", "*"),
            Self::Back(remnant) => remnant.script(script, shim),
        }
    }
}

impl Remnant {
    fn script(&self, script: Script, shim: &ShimScript) -> Script {
        let hash = self.hash.to_string();
        let unless = |had: bool, value: &str| if had { String::new() } else { value.to_owned() };
        let had = |file: Option<&[u8]>| if file.is_some() { "yes" } else { "" };
        let current = self.current.as_ref().map(|hash| format!("{hash}\n"));
        let current = current.as_deref().map(str::as_bytes);
        script
            .set("back", "yes")
            // One that ran before, from a program that was there, goes on.
            .set("whose", &unless(self.had_program && self.had_state, &hash))
            .set("state", &unless(self.had_state, &shim.state))
            .set("program", &unless(self.had_program, &hash))
            .set("had_current", had(current))
            .text("was_current", current.unwrap_or_default())
            .set("had_shim", had(self.shim.as_deref()))
            .text("was_shim", &ended(self.shim.as_deref()))
    }
}

/// A text for a script, whose last line has an end.
fn ended(text: Option<&[u8]>) -> Vec<u8> {
    let mut text = text.unwrap_or_default().to_vec();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
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
            restored: all("restored "),
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
    use crate::enrol::before::Before;
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
        cleaned(&what.script(shim))
    }

    fn cleaned(script: &Script) -> Cleaned {
        let said = ran(script).text();
        assert_eq!(said.lines().last(), Some("done"));
        Cleaned::of(&said.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    fn ran(script: &Script) -> Answer {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&script.render()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("sh ends");
        assert!(output.status.success());
        Answer::parse(&output.stdout).expect("a mark")
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

    /// What of ours is there, as the script for it says.
    fn before(shim: &ShimScript, hash: &ContentHash) -> Before {
        let said = ran(&Before::script(shim, hash));
        Before::parse(&said.body).expect("an answer")
    }

    #[test]
    fn what_was_there_is_put_back() {
        let (old, new) = (ContentHash::of(b"old"), ContentHash::of(b"new"));
        let old_program = format!("musher/{old}/musher");
        for theirs in ["", "an older shim\n", "'no' $end `x`"] {
            let (dir, shim) = machine(&[&old_program, "musher/thesis"]);
            let file = |name: &str| dir.path().join("musher").join(name);
            fs::write(file("shim"), theirs).expect("written");
            fs::write(file("current"), format!("{old}\n")).expect("written");
            let was = files(dir.path());
            let before = before(&shim, &new);
            assert!(before.files && !before.state && !before.program && !before.has(&shim));

            let program = file(&new.to_string());
            fs::create_dir(&program).expect("made");
            fs::write(program.join("musher"), "new").expect("written");
            fs::write(file("shim"), shim.text()).expect("written");
            fs::write(file("current"), format!("{new}\n")).expect("written");
            fs::create_dir(file("state")).expect("made");
            let cleaned = clean(&shim, &before.undoing(&new));
            let paths = ["state", &new.to_string()].map(|name| format!("{}/{name}", shim.files));
            assert_eq!(cleaned.removed, paths);
            let paths = ["current", "shim"].map(|name| format!("{}/{name}", shim.files));
            assert_eq!(cleaned.restored, paths);
            assert_eq!(files(dir.path()), was);
            let read = |name: &str| fs::read_to_string(file(name)).expect("read");
            assert_eq!(read("shim").trim_end(), theirs.trim_end());
            assert_eq!(read("current"), format!("{old}\n"));
            // What was there stays untouched.
            let again = clean(&shim, &before.undoing(&new));
            assert_eq!(again, Cleaned::default());
        }
    }

    #[test]
    fn less_can_be_removed_than_all() {
        let hash = ContentHash::of(b"program");
        let program = format!("musher/{hash}/musher");
        let all = [&program, "musher/shim", "musher/state/x"];
        let (dir, shim) = machine(&all);
        clean(
            &shim,
            &Cleaning::Back(Remnant {
                hash,
                had_program: false,
                had_state: true,
                current: None,
                shim: Some(Vec::new()),
            }),
        );
        assert_eq!(files(dir.path()), ["./musher/shim", "./musher/state/x"]);
        clean(&shim, &Cleaning::Files);
        assert_eq!(files(dir.path()), ["./musher/state/x"]);
        // A second time there is nothing to do.
        clean(&shim, &Cleaning::All);
        assert_eq!(clean(&shim, &Cleaning::All), Cleaned::default());
        assert_eq!(files(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn the_store_of_a_worker_without_a_sandbox_goes_if_it_is_its_own() {
        let theirs = ["nix/store/x", "nix/var/nix/db/db.sqlite"];
        let (dir, shim) = machine(&[&theirs[..], &["musher/state/x"]].concat());
        let nix = dir.path().join("nix").display().to_string();
        let found = cleaned(&Cleaning::All.script_with(&shim, &nix));
        assert_eq!(found.removed, [shim.state.as_str()]);
        assert!(dir.path().join(theirs[0]).exists());

        let ours = "nix/var/nix/musher/store-id";
        for (more, goes) in [
            ("nix/var/nix/profiles/per-user/x", true),
            ("nix/var/nix/profiles/default", false),
            ("nix/var/nix/daemon-socket/socket", false),
        ] {
            let (dir, shim) = machine(&[&theirs[..], &["musher/state/x", ours, more]].concat());
            let nix = dir.path().join("nix");
            cleaned(&Cleaning::All.script_with(&shim, &nix.display().to_string()));
            assert_eq!(!nix.exists(), goes, "{more}");
        }
    }
}
