//! What is about to be put where, noted before it is, so that it can be taken
//! back however far it came.

use std::path::{Path, PathBuf};

use musher_coordinator::enrol::{
    Before, Cleaned, ContentHash, KeyLines, Login, LoginKey, Mark, PublicKey, ShimScript,
};

use crate::ui::Ui;

/// What adding a machine changes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The login by which it can be taken back.
    pub(super) login: Option<Login>,
    /// A key that is made here.
    pub(super) key: Option<PathBuf>,
    /// The shim, the program that it starts, and what of ours was there before.
    pub(super) shim: Option<(ShimScript, Before, ContentHash)>,
    /// A line in `authorized_keys`.
    pub(super) line: Option<Line>,
}

/// A line that takes the place of others.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: PublicKey,
    pub(super) mark: Mark,
    /// Those that were there before.
    pub(super) before: KeyLines,
}

/// What is taken back, and what is left.
#[derive(Debug, Default)]
struct Undone {
    done: Vec<String>,
    left: Vec<String>,
}

impl Ledger {
    /// Takes everything back, the latest first, and says so. What cannot be
    /// taken back is said too.
    pub(super) async fn undo(self, ui: Ui) {
        let mut undone = Undone::default();
        if let Some(login) = &self.login {
            if let Some(line) = &self.line {
                undone.line(login, line).await;
            }
            if let Some((shim, before, hash)) = &self.shim {
                undone.files(login, shim, before, hash).await;
            }
        }
        if let Some(path) = &self.key {
            undone.key(path);
        }
        let Undone { done, left } = undone;
        if !done.is_empty() {
            ui.note(&format!("taken back: {}", done.join(", ")));
        }
        for what in left {
            ui.note(&format!("left there: {what}"));
        }
    }

    /// Forgets everything but the login: it stays.
    pub(super) fn settle(&mut self) {
        *self = Self {
            login: self.login.take(),
            ..Self::default()
        };
    }
}

impl Undone {
    async fn line(&mut self, login: &Login, line: &Line) {
        let what = "the line in `authorized_keys`".to_owned();
        match login
            .put_key_back(&line.key, &line.mark, &line.before)
            .await
        {
            Ok(true) => self.done.push(what),
            Ok(false) => {}
            Err(error) => self.left.push(format!(
                "{what} that ends with `{}`: {error}",
                line.mark.as_str()
            )),
        }
    }

    async fn files(
        &mut self,
        login: &Login,
        shim: &ShimScript,
        before: &Before,
        hash: &ContentHash,
    ) {
        match login.clean(shim, &before.undoing(hash)).await {
            Ok(Cleaned {
                removed, restored, ..
            }) => {
                let gone = removed.iter().map(|path| format!("`{path}`"));
                self.done.extend(gone);
                let as_before = restored
                    .iter()
                    .map(|path| format!("`{path}`, as it was before"));
                self.done.extend(as_before);
            }
            Err(error) => {
                let text = format!("`{}`, `{}`: {error}", shim.files, shim.state);
                self.left.push(text);
            }
        }
    }

    fn key(&mut self, path: &Path) {
        match LoginKey::remove(path) {
            Ok(true) => self.done.push(format!("the key `{}`", path.display())),
            Ok(false) => {}
            Err(error) => self.left.push(error.to_string()),
        }
    }
}
