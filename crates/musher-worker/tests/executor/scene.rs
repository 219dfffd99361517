//! A store and an executor for one test, and derivations for them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix_derivation::{DerivationBuilder, ValidatedDerivation};
use tempfile::TempDir;

use crate::messages::{Came, Order};

/// The program that builds.
const TRIAL: &str = env!("CARGO_BIN_EXE_musher-executor-trial");

/// What builds see of the machine, besides a shell.
const PROGRAMS: [&str; 10] = [
    "cat", "chmod", "env", "id", "kill", "ls", "mkdir", "sleep", "ln", "stat",
];

/// A user that nobody is.
const NOBODY: u32 = 64_997;

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A user without any rights.
    Rootless,
    /// Root, in a slot.
    Root,
}

/// Everybody that this test can be.
pub(crate) fn everybody() -> Vec<Who> {
    match rustix::process::geteuid().is_root() {
        true => vec![Who::Rootless, Who::Root],
        false => {
            let note = "skipped as root: the tests run as another user";
            writeln!(std::io::stderr(), "{note}").expect("a reader");
            vec![Who::Rootless]
        }
    }
}

/// A store and a place to build, gone when dropped.
pub(crate) struct Scene {
    dir: TempDir,
    who: Who,
    /// The root directory with a `/nix` of the scene's own.
    root: Option<PathBuf>,
    pub(crate) order: Order,
}

/// Makes the directory `$1` the root of everything, with this machine's own
/// directories in it but `/nix`, and runs the rest.
const OWN_NIX: &str = r#"
    set -e
    root=$1 && shift
    for entry in /*; do
        name=${entry#/}
        [ "$name" != nix ] || continue
        if [ -L "$entry" ]; then
            cp -P "$entry" "$root/"
        elif [ -d "$entry" ]; then
            mkdir -p "$root/$name" && mount --rbind "$entry" "$root/$name"
        fi
    done
    exec chroot "$@"
"#;

impl Scene {
    /// A scene for `who`, with an empty store.
    pub(crate) fn new(who: Who) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let order = Order {
            store: dir.path().join("store"),
            builds: dir.path().join("builds"),
            programs: PROGRAMS
                .iter()
                .map(|name| (Path::new("/bin").join(name), found(name)))
                .chain([(PathBuf::from("/bin/sh"), PathBuf::from("/bin/sh"))])
                .collect(),
            ..Order::default()
        };
        for path in [dir.path(), &order.store, &order.builds] {
            fs::create_dir_all(path).expect("a directory");
            if rustix::process::geteuid().is_root() && who == Who::Rootless {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("another owner");
            }
        }
        // Others may not get to where the program was made.
        let program = dir.path().join("trial");
        fs::hard_link(TRIAL, &program)
            .or_else(|_| fs::copy(TRIAL, &program).map(drop))
            .expect("a copy");
        Self {
            dir,
            who,
            root: None,
            order,
        }
    }

    /// A scene without a sandbox, whose store is at `/nix/store`: one of its
    /// own, for which it takes root.
    pub(crate) fn bare(who: Who) -> Option<Self> {
        let unshared = Command::new("unshare").args(["-m", "true"]).output();
        if !unshared.is_ok_and(|output| output.status.success()) {
            let note = "skipped: no namespace with a `/nix` of its own can be made";
            writeln!(std::io::stderr(), "{note}").expect("a reader");
            return None;
        }
        let mut scene = Self::new(who);
        let root = scene.dir.path().join("root");
        fs::create_dir_all(root.join("nix")).expect("a directory");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scene.dir.path(), open).expect("ours");
        if who == Who::Rootless {
            chown(root.join("nix"), Some(NOBODY), Some(NOBODY)).expect("another owner");
        }
        scene.order.store = "/".into();
        scene.order.builds = "/nix/var/nix/builds".into();
        scene.order.bare = true;
        scene.root = Some(root);
        Some(scene)
    }

    /// A directory of the machine that is the scene's.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a derivation to what is built.
    pub(crate) fn add(&mut self, derivation: &ValidatedDerivation) {
        let file = self.dir.path().join(derivation.drv_path().to_basename());
        fs::write(&file, derivation.to_aterm_bytes()).expect("written");
        self.order.derivations.push(file);
    }

    /// Builds everything, and says what came of each.
    pub(crate) fn build_all(&self) -> Vec<Came> {
        let program = self.dir.path().join("trial");
        let other = rustix::process::geteuid().is_root() && self.who == Who::Rootless;
        let mut command = match &self.root {
            Some(root) => {
                let mut command = Command::new("unshare");
                command.args(["-m", "sh", "-c", OWN_NIX, "sh"]).arg(root);
                if other {
                    command.arg(format!("--userspec={NOBODY}:{NOBODY}"));
                }
                command.arg(root).arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                if other {
                    command.uid(NOBODY).gid(NOBODY);
                }
                command
            }
        };
        let mut child = command
            .current_dir("/")
            .env("IMPURE", "of the worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program");
        let order = serde_json::to_vec(&self.order).expect("an order");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&order).expect("a reader");
        drop(input);
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "the trial program failed");
        serde_json::from_slice(&output.stdout).expect("an answer")
    }

    /// Builds the only derivation.
    pub(crate) fn build(&self) -> Came {
        let mut all = self.build_all();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Where `path` of the store lies.
    pub(crate) fn real(&self, path: &str) -> PathBuf {
        let store = self.root.as_ref().unwrap_or(&self.order.store);
        store.join(path.trim_start_matches('/'))
    }

    /// The text of a file in an output.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.real(path)).expect("a file")
    }

    /// Nothing of a build is left.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let rooms = fs::read_dir(self.order.builds.join("rooms")).expect("a directory");
        assert_eq!(rooms.count(), 0, "a build left something");
    }
}

/// A program of the machine.
fn found(name: &str) -> PathBuf {
    ["/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no `{name}` on this machine"))
}

/// A derivation that runs `script` in `/bin/sh`.
pub(crate) fn script(name: &str, script: &str) -> DerivationBuilder {
    let system = format!("{}-linux", std::env::consts::ARCH);
    DerivationBuilder::new(name, system, "/bin/sh")
        .argument("-c")
        .argument(script)
        .environment("PATH", "/bin")
}

/// The same with one input-addressed output.
pub(crate) fn simple(name: &str, text: &str) -> ValidatedDerivation {
    script(name, text)
        .input_addressed_output("out")
        .build()
        .expect("a derivation")
}
