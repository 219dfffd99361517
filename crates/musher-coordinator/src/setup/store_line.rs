//! The one line by which stock clients have Musher as their store. It is for a
//! user's own `nix.conf` or environment: a nix-daemon that read it would take
//! itself for a client.

use std::path::{Path, PathBuf};

use super::nix_conf::{self, Setting};
use super::{FileChange, SetupError, read, replace_file};

/// What `setup --store` would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSetup {
    /// A user's `nix.conf`, with our line and everything else as it was.
    pub nix_conf: FileChange,
    /// That line.
    pub setting: String,
    /// The variable that does the same for one process.
    pub environment: String,
}

impl StoreSetup {
    /// Plans it for the store at `socket` and the file `nix_conf`, which is read;
    /// `store_dir` is where Nix keeps its store.
    pub fn plan(socket: &Path, nix_conf: &Path, store_dir: &Path) -> Result<Self, SetupError> {
        let url = url(socket)?;
        let before = read(nix_conf, store_dir)?;
        let setting = Setting::new("store", &[], url.clone());
        let line = setting.line();
        let edit = nix_conf::edit(before.as_deref().unwrap_or_default(), &[setting]);
        Ok(Self {
            nix_conf: FileChange {
                path: nix_conf.to_owned(),
                before,
                after: edit.text,
            },
            setting: line,
            environment: format!("NIX_REMOTE={url}"),
        })
    }

    /// Writes what has to be written, and says whether that was anything.
    pub fn apply(&self) -> Result<bool, SetupError> {
        if !self.nix_conf.is_needed() {
            return Ok(false);
        }
        let written = replace_file(&self.nix_conf.path, &self.nix_conf.after);
        written.map_err(|source| SetupError::Write { source })?;
        Ok(true)
    }
}

fn url(socket: &Path) -> Result<String, SetupError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._".contains(c);
    match socket.to_str().filter(|path| path.chars().all(plain)) {
        Some(path) => Ok(format!("unix://{path}")),
        None => Err(SetupError::SocketPath {
            path: PathBuf::from(socket),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_goes_where_another_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("nix.conf");
        std::fs::write(&file, "cores = 2\nstore = daemon # for now\n").expect("a file");
        let plan = || {
            let socket = Path::new("/run/musher/nix.sock");
            StoreSetup::plan(socket, &file, Path::new("/nix/store")).expect("a plan")
        };
        assert!(plan().apply().expect("written"));
        let text = std::fs::read_to_string(&file).expect("text");
        assert_eq!(
            text,
            "cores = 2\nstore = unix:///run/musher/nix.sock # for now\n"
        );
        assert!(!plan().apply().expect("nothing to do"));
    }

    #[test]
    fn a_socket_that_would_fall_apart_is_refused() {
        let socket = Path::new("/run/my musher/nix.sock");
        let error = url(socket).expect_err("a refusal");
        assert!(error.is_users() && error.help().is_some(), "{error}");
    }
}
