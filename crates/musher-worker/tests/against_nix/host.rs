//! The host's Nix, with a store directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use musher_protocol::types::PathInfo;
use musher_store::local::{LocalOptions, LocalStore};
use nix_derivation::{StoreDir, StorePath};
use tempfile::TempDir;

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With these outputs, by path.
    Built(BTreeMap<String, Built>),
    /// With these words.
    Failed(String),
}

/// What is registered of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    references: Vec<String>,
    nar_hash: String,
    nar_size: u64,
    ca: Option<String>,
    deriver: Option<String>,
    ultimate: bool,
}

impl From<PathInfo> for Built {
    fn from(info: PathInfo) -> Self {
        Self {
            references: info.references.iter().map(StorePath::to_basename).collect(),
            nar_hash: info.nar_hash.to_string(),
            nar_size: info.nar_size,
            ca: info.ca.map(|ca| ca.to_nix_string()),
            deriver: info.deriver.map(|path| path.to_basename()),
            ultimate: info.ultimate,
        }
    }
}

/// A directory in which Nix has its store, state and settings.
pub(crate) struct Host {
    root: TempDir,
}

impl Host {
    /// None where there is no Nix.
    pub(crate) fn new() -> Option<Self> {
        let found = Command::new("nix-store").arg("--version").output();
        if !found.is_ok_and(|found| found.status.success()) {
            return None;
        }
        // Below a directory that anybody can write to Nix wants no store.
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).ok()?;
        let host = Self { root };
        for directory in ["conf", "home", "inputs"] {
            fs::create_dir(host.path(directory)).ok()?;
        }
        let settings = "sandbox = false\nbuild-users-group =\nsubstituters =\n\
                        experimental-features = ca-derivations nix-command\n";
        fs::write(host.path("conf/nix.conf"), settings).ok()?;
        Some(host)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn inputs(&self) -> PathBuf {
        self.path("inputs")
    }

    pub(crate) fn store_dir(&self) -> StoreDir {
        let path = self.path("store");
        StoreDir::new(path.to_str().expect("text")).expect("a store directory")
    }

    /// Nix's tools are in `PATH`; all else is in the directory.
    fn nix(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("NIX_STORE_DIR", self.path("store"))
            .env("NIX_STATE_DIR", self.path("state"))
            .env("NIX_LOG_DIR", self.path("log"))
            .env("NIX_CONF_DIR", self.path("conf"))
            .env("HOME", self.path("home"))
            .env_remove("NIX_REMOTE")
            .env_remove("NIX_PATH");
        command
    }

    /// Writes the derivations of `expression` to the store, by attribute.
    pub(crate) fn instantiate(&self, expression: &str) -> BTreeMap<String, StorePath> {
        let file = self.path("outputs.nix");
        fs::write(&file, expression).expect("a file");
        let names = succeeds(
            self.nix("nix-instantiate")
                .args(["--eval", "--read-write-mode", "--strict", "--json", "-E"])
                .arg(format!(
                    "builtins.mapAttrs (_: d: d.drvPath) (import {} {{ inputs = {}; }})",
                    file.display(),
                    self.inputs().display()
                )),
        );
        let drvs: BTreeMap<String, String> =
            serde_json::from_str(&names).expect("derivations by name");
        let store_dir = self.store_dir();
        drvs.into_iter()
            .map(|(name, drv)| (name, store_dir.parse_path(drv.as_bytes()).expect("a path")))
            .collect()
    }

    /// Has Nix build each derivation.
    pub(crate) fn build_all(
        &self,
        derivations: &BTreeMap<String, StorePath>,
    ) -> BTreeMap<String, End> {
        let ends = derivations.iter().map(|(name, drv)| {
            let drv = self.store_dir().render_path(drv);
            let output = self.nix("nix-store").args(["--realise", &drv]).output();
            (name.clone(), self.end(&output.expect("nix-store")))
        });
        ends.collect()
    }

    fn end(&self, output: &Output) -> End {
        if !output.status.success() {
            return End::Failed(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        End::Built(self.built(&self.store(), text.lines()))
    }

    /// What is registered of `paths`, given in full.
    pub(crate) fn built<'a>(
        &self,
        store: &LocalStore,
        paths: impl Iterator<Item = &'a str>,
    ) -> BTreeMap<String, Built> {
        let built = paths.map(|path| {
            let path = self
                .store_dir()
                .parse_path(path.as_bytes())
                .expect("a path");
            let info = store.path_info(&path).expect("the database");
            (path.to_basename(), info.expect("a valid path").into())
        });
        built.collect()
    }

    /// The store in the directory, whoever made it.
    pub(crate) fn store(&self) -> LocalStore {
        self.open("store", "state")
    }

    fn open(&self, store: &str, state: &str) -> LocalStore {
        let options = LocalOptions {
            store_dir: StoreDir::new(self.path(store).to_str().expect("text")).expect("a path"),
            state_dir: Some(self.path(state)),
            ..LocalOptions::default()
        };
        LocalStore::open(options).expect("a store")
    }

    /// Puts what Nix made out of the way, and says where.
    pub(crate) fn put_away(&self) -> PathBuf {
        for directory in ["store", "state"] {
            let away = self.path(&format!("nix-{directory}"));
            fs::rename(self.path(directory), away).expect("moving");
        }
        self.path("nix-store")
    }

    /// Has Nix verify what is in the directory.
    pub(crate) fn verify(&self) {
        succeeds(self.nix("nix-store").args(["--verify", "--check-contents"]));
    }
}

/// What `command` prints; it must succeed.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("starting a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    assert!(!said.contains("error:"), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// The files of a path that was put away.
pub(crate) fn copy(from: &Path, to: &Path) {
    succeeds(Command::new("cp").arg("-a").arg(from).arg(to));
}
