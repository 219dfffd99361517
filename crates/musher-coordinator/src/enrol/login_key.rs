//! The key pair that a coordinator logs in with: the user's, or one that is made
//! for one machine by their `ssh-keygen`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::authorized_keys::{PublicKey, PublicKeyError};

/// A key to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginKey {
    /// Where its private half is.
    pub path: PathBuf,
    /// Its public half.
    pub public: PublicKey,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum LoginKeyError {
    /// There is no such file.
    #[error("there is no private key `{}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A directory or file of keys could not be used.
    #[error("cannot {attempt} `{}`", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// ssh-keygen did not run.
    #[error("cannot run `ssh-keygen`")]
    Run {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// ssh-keygen failed.
    #[error("ssh-keygen cannot {attempt} `{}`: {said}", path.display())]
    Keygen {
        /// What was attempted.
        attempt: &'static str,
        /// The key.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// ssh-keygen printed something else.
    #[error("the key `{}` has no public half", path.display())]
    Public {
        /// The key.
        path: PathBuf,
        /// What was found.
        #[source]
        source: PublicKeyError,
    },
}

impl LoginKeyError {
    /// Whether the user's wishes are at fault, rather than the surroundings.
    pub fn is_users(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Public { .. })
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => {
                Some("without `--ssh-key` one is made for this machine alone".to_owned())
            }
            Self::Run { .. } => {
                Some("install OpenSSH's client (`apt install openssh-client`)".to_owned())
            }
            Self::Keygen { .. } => Some(
                "a key with a passphrase is of no use to a daemon; without `--ssh-key` one is \
                 made for this machine alone"
                    .to_owned(),
            ),
            Self::File { .. } | Self::Public { .. } => None,
        }
    }
}

impl LoginKey {
    /// Where the key for machine `name` is, beside the configuration `config`.
    pub fn place(config: &Path, name: &str) -> PathBuf {
        config.with_file_name("keys").join(name)
    }

    /// A key that is there: its public half is read from it.
    pub async fn given(path: &Path) -> Result<Self, LoginKeyError> {
        if !path.exists() {
            let path = path.to_path_buf();
            return Err(LoginKeyError::Missing { path });
        }
        // With an empty passphrase, so that nobody is asked for one.
        let arguments = ["-y", "-P", "", "-f"];
        let printed = keygen("read", &arguments, path).await?;
        let public = PublicKey::parse(&printed).map_err(|source| LoginKeyError::Public {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            public,
            is_new: false,
        })
    }

    /// The key at `path`, which is made where there is none, for its owner's
    /// eyes only.
    pub async fn make(path: &Path, comment: &str) -> Result<Self, LoginKeyError> {
        if path.exists() {
            return Self::given(path).await;
        }
        if let Some(dir) = path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(dir);
            made.map_err(|source| LoginKeyError::File {
                attempt: "make the directory",
                path: dir.to_path_buf(),
                source,
            })?;
        }
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
        keygen("make", &arguments, path).await?;
        let made = Self::given(path).await?;
        Ok(Self {
            is_new: true,
            ..made
        })
    }

    /// Removes both halves, and the directory if it is empty then. False if
    /// neither was there.
    pub fn remove(path: &Path) -> Result<bool, LoginKeyError> {
        let mut was_there = false;
        for file in [path.to_path_buf(), public_file(path)] {
            match fs::remove_file(&file) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LoginKeyError::File {
                        attempt: "remove",
                        path: file,
                        source,
                    });
                }
                Ok(()) => was_there = true,
                Err(_) => {}
            }
        }
        // It stays where other keys are in it.
        let _ = path.parent().map(fs::remove_dir);
        Ok(was_there)
    }
}

fn public_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

async fn keygen(
    attempt: &'static str,
    arguments: &[&str],
    path: &Path,
) -> Result<String, LoginKeyError> {
    let mut command = Command::new("ssh-keygen");
    let output = command
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| LoginKeyError::Run { source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().next_back().unwrap_or_default();
        return Err(LoginKeyError::Keygen {
            attempt,
            path: path.to_path_buf(),
            said: said.to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_key_is_made_once_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = LoginKey::place(&dir.path().join("musher.toml"), "b1.example");
        assert_eq!(path, dir.path().join("keys/b1.example"));
        let made = LoginKey::make(&path, "musher b1").await.expect("made");
        assert!(made.is_new && made.public.to_string().starts_with("ssh-ed25519 AAAA"));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!(
            (mode(&path), mode(path.parent().expect("a parent"))),
            (0o600, 0o700)
        );
        let found = LoginKey::make(&path, "musher b1").await.expect("found");
        assert!(!found.is_new && found.public == made.public);
        assert!(LoginKey::remove(&path).expect("removed"));
        assert!(!dir.path().join("keys").exists());
        assert!(!LoginKey::remove(&path).expect("nothing to remove"));
    }

    #[tokio::test]
    async fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        let error = LoginKey::given(&path).await.expect_err("missing");
        assert!(matches!(error, LoginKeyError::Missing { .. }));
        fs::write(&path, "no key").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode set");
        let error = LoginKey::given(&path).await.expect_err("refused");
        assert!(matches!(error, LoginKeyError::Keygen { .. }) && error.help().is_some());
    }
}
