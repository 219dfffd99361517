//! Rules about source files: each says what it is for, none knows where stores
//! are, and each pure crate carries its own list of what clippy refuses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::graph::PURE;

/// Nix's default store directory, which nix-derivation knows and we are told.
const STORE: &str = concat!("/nix", "/store");

/// Directories with sources of ours, in the workspace's root.
const OURS: [&str; 3] = ["crates", "fuzz", "xtask"];

/// The breaches, one line each.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for directory in OURS
        .map(|name| root.join(name))
        .iter()
        .filter(|path| path.is_dir())
    {
        for path in rust_files(directory)? {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            let shown = path.strip_prefix(root).unwrap_or(&path);
            breaches.extend(breaches_of(shown, &text));
        }
    }
    for name in PURE {
        let file = Path::new("crates").join(name).join("clippy.toml");
        if !root.join(&file).is_file() {
            breaches.push(format!(
                "{}: missing, and `{name}` is a pure crate",
                file.display()
            ));
        }
    }
    Ok(breaches)
}

/// The breaches of one file; `path` is relative to the workspace's root.
fn breaches_of(path: &Path, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    if !text.starts_with("//!") {
        breaches.push(format!(
            "{}:1: does not begin by saying what it is for (`//!`)",
            path.display()
        ));
    }
    if is_product(path) {
        for (number, line) in (1..).zip(product_lines(text)) {
            if line.contains(STORE) && !line.trim_start().starts_with("//") {
                breaches.push(format!(
                    "{}:{number}: names the store directory, which is a parameter",
                    path.display()
                ));
            }
        }
    }
    breaches
}

/// Whether a file is compiled into what we ship: below a crate's `src`, and
/// not a file of tests by its name.
fn is_product(path: &Path) -> bool {
    let mut parts = path.iter().filter_map(|part| part.to_str());
    let in_crate = parts.next() == Some("crates") && parts.nth(1) == Some("src");
    in_crate && !parts.any(|part| matches!(part, "tests" | "tests.rs"))
}

/// The lines before a file's tests, which come last.
fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        let entries =
            fs::read_dir(&next).with_context(|| format!("cannot list `{}`", next.display()))?;
        for entry in entries {
            let path = entry
                .with_context(|| format!("cannot list `{}`", next.display()))?
                .path();
            if path.is_dir() && !path.ends_with("target") {
                ahead.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        breaches_of(Path::new(path), text)
    }

    fn with_store(before: &str) -> String {
        format!("//! x\n{before}\nconst X: &str = \"{STORE}\";\n")
    }

    #[test]
    fn a_file_says_first_what_it_is_for() {
        assert_eq!(check("xtask/src/a.rs", "//! x\n"), [""; 0]);
        assert_eq!(
            check("xtask/src/a.rs", "use x;\n"),
            ["xtask/src/a.rs:1: does not begin by saying what it is for (`//!`)"]
        );
    }

    #[test]
    fn product_code_does_not_name_the_store() {
        assert_eq!(
            check("crates/a/src/b.rs", &with_store("")),
            ["crates/a/src/b.rs:3: names the store directory, which is a parameter"]
        );
    }

    #[test]
    fn tests_and_comments_may_name_the_store() {
        assert_eq!(
            check("crates/a/src/b.rs", &with_store("#[cfg(test)]")),
            [""; 0]
        );
        assert_eq!(check("crates/a/src/b/tests.rs", &with_store("")), [""; 0]);
        assert_eq!(check("crates/a/tests/b.rs", &with_store("")), [""; 0]);
        assert_eq!(
            check("crates/a/src/b.rs", &format!("//! x\n/// {STORE}\n")),
            [""; 0]
        );
    }
}
