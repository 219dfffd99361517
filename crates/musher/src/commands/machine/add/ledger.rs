//! What was put where so far, so that it can be taken back.

use std::path::PathBuf;

use musher_coordinator::enrol::{
    Before, Cleaned, Cleaning, ContentHash, Login, LoginKey, Mark, PublicKey, ShimScript,
};

use crate::ui::Ui;

/// What adding a machine has changed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The login by which it can be taken back.
    pub(super) login: Option<Login>,
    /// A key that was made here.
    pub(super) key: Option<PathBuf>,
    /// What of ours was there before the shim came, and the program it starts.
    pub(super) shim: Option<(ShimScript, Before, ContentHash)>,
    /// A line that was put into `authorized_keys`.
    pub(super) line: Option<(PublicKey, Mark)>,
}

impl Ledger {
    /// Takes everything back, the latest first, and says so. What cannot be
    /// taken back is said too.
    pub(super) async fn undo(self, ui: Ui) {
        let mut done = Vec::new();
        let mut left = Vec::new();
        if let Some(login) = &self.login {
            if let Some((key, mark)) = &self.line {
                let what = "the line in `authorized_keys`".to_owned();
                match login.remove_key(Some(key), mark).await {
                    Ok(_) => done.push(what),
                    Err(error) => left.push(format!(
                        "{what} that ends with `{}`: {error}",
                        mark.as_str()
                    )),
                }
            }
            if let Some((shim, cleaning)) = self.cleaning() {
                match login.clean(shim, &cleaning).await {
                    Ok(Cleaned { removed, .. }) => {
                        done.extend(removed.iter().map(|path| format!("`{path}`")));
                    }
                    Err(error) => left.push(format!("`{}`, `{}`: {error}", shim.files, shim.state)),
                }
            }
        }
        if let Some(path) = &self.key {
            match LoginKey::remove(path) {
                Ok(()) => done.push(format!("the key `{}`", path.display())),
                Err(error) => left.push(error.to_string()),
            }
        }
        if !done.is_empty() {
            ui.note(&format!("taken back: {}", done.join(", ")));
        }
        for what in left {
            ui.note(&format!("left there: {what}"));
        }
    }

    /// What to remove so that the machine is as it was.
    fn cleaning(&self) -> Option<(&ShimScript, Cleaning)> {
        let (shim, before, hash) = self.shim.as_ref()?;
        let cleaning = match before {
            Before {
                files: true,
                program: true,
                ..
            } => return None,
            Before {
                files: true,
                program: false,
                ..
            } => Cleaning::Program(hash.clone()),
            Before {
                files: false,
                state: true,
                ..
            } => Cleaning::Files,
            Before {
                files: false,
                state: false,
                ..
            } => Cleaning::All,
        };
        Some((shim, cleaning))
    }
}
