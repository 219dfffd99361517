//! Runs the program in a directory of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use expect_test::Expect;
use tempfile::TempDir;

/// A directory with files in which commands run.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// A directory with these files, given as pairs of name and text.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for (name, text) in files {
            fs::write(place.path().join(name), text).expect("written");
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What a file holds now, with this directory written as `DIR`.
    pub(crate) fn read(&self, name: &str) -> String {
        self.anonymous(&fs::read_to_string(self.path().join(name)).expect("read"))
    }

    /// Runs `musher` with `--config` set to this directory's musher.toml and
    /// words split at blanks; `DIR` stands for the directory.
    #[track_caller]
    pub(crate) fn check(&self, words: &str, expected: &Expect) {
        expected.assert_eq(&self.run(words));
    }

    /// The same, and tells what it says.
    pub(crate) fn run(&self, words: &str) -> String {
        let config = self.path().join("musher.toml");
        let words = words.replace("DIR", &self.path().to_string_lossy());
        let mut args = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
        args.extend(words.split_whitespace().map(str::to_owned));
        self.anonymous(&run(&args, self.path()))
    }

    fn anonymous(&self, text: &str) -> String {
        text.replace(self.path().to_string_lossy().as_ref(), "DIR")
    }
}

/// Whether this host has a nix-daemon, so that what is said without one cannot be
/// seen.
#[expect(clippy::print_stderr, reason = "what was skipped must be said")]
pub(crate) fn has_nix() -> bool {
    let has = Path::new("/nix/var/nix/daemon-socket/socket").exists();
    if has {
        eprintln!("skipped: this host has a nix-daemon");
    }
    has
}

/// Runs `musher` and tells its exit code, output and messages.
pub(crate) fn run(args: &[String], dir: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_musher"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .output()
        .expect("musher runs");
    let mut seen = format!("exit {}\n", output.status.code().unwrap_or(-1));
    seen += &String::from_utf8_lossy(&output.stdout);
    if !output.stderr.is_empty() {
        seen += "--- messages\n";
        seen += &String::from_utf8_lossy(&output.stderr);
    }
    seen
}
