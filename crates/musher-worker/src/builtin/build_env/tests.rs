//! Packages as a test describes them, and the directory that is made of them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::super::{Builtin, BuiltinError, BuiltinOrder, Hosted};

/// Packages below a directory, and an environment of them.
struct Packages {
    scratch: TempDir,
    derivations: String,
    log: Vec<u8>,
}

impl Packages {
    fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
            derivations: String::new(),
            log: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// Makes package `name` with `files`; one with ` -> ` is a link.
    fn package(&self, name: &str, files: &[&str]) {
        for file in files {
            let (file, target) = match file.split_once(" -> ") {
                Some((file, target)) => (file, Some(target)),
                None => (*file, None),
            };
            let path = self.path(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match target {
                Some(target) => symlink(self.path(target), &path).unwrap(),
                None => fs::write(&path, "").unwrap(),
            }
        }
    }

    /// Puts package `name` into the environment.
    fn install(&mut self, active: &str, priority: i64, name: &str) {
        let path = self.path(name);
        write!(
            self.derivations,
            "{active} {priority} 1 {} ",
            path.display()
        )
        .unwrap();
    }

    fn build(&mut self) -> Result<(), BuiltinError> {
        let env = [
            ("derivations", self.derivations.as_str()),
            ("manifest", "/store/manifest"),
        ];
        let order = BuiltinOrder {
            env: env
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .into(),
            outputs: [("out".to_owned(), self.path("out"))].into(),
            fetches: false,
            hosted: Hosted::default(),
        };
        Builtin::BuildEnv.run(&order, &mut self.log)
    }

    #[track_caller]
    fn check(&mut self, expected: Expect) {
        self.build().unwrap();
        let mut shown = String::new();
        self.show(&self.path("out"), 0, &mut shown);
        expected.assert_eq(&shown);
    }

    #[track_caller]
    fn refused(&mut self, expected: Expect) {
        let error = self.build().unwrap_err();
        expected.assert_eq(&self.short(&error.to_string()));
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.scratch.path().display()), "")
    }

    fn show(&self, directory: &Path, depth: usize, shown: &mut String) {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let name = name.to_str().unwrap();
            write!(shown, "{}{name}", "  ".repeat(depth)).unwrap();
            if let Ok(target) = fs::read_link(&path) {
                writeln!(shown, " -> {}", self.short(target.to_str().unwrap())).unwrap();
            } else {
                shown.push('\n');
                self.show(&path, depth + 1, shown);
            }
        }
    }
}

#[test]
fn a_directory_of_one_package_is_a_link_and_one_of_two_is_made() {
    let mut packages = Packages::new();
    packages.package("a", &["bin/a", "share/doc/a", "lib/only-a"]);
    packages.package("b", &["bin/b", "share/doc/b", "share/man/b"]);
    packages.install("true", 5, "a");
    packages.install("true", 5, "b");
    packages.check(expect![[r#"
        bin
          a -> a/bin/a
          b -> b/bin/b
        lib -> a/lib
        manifest.nix -> /store/manifest
        share
          doc
            a -> a/share/doc/a
            b -> b/share/doc/b
          man -> b/share/man
    "#]]);
}

#[test]
fn the_lower_number_comes_first_whatever_the_order() {
    let mut packages = Packages::new();
    packages.package("a", &["bin/tool"]);
    packages.package("b", &["bin/tool"]);
    packages.install("true", 10, "a");
    packages.install("true", 3, "b");
    packages.check(expect![[r#"
        bin
          tool -> b/bin/tool
        manifest.nix -> /store/manifest
    "#]]);
}

#[test]
fn two_of_the_same_priority_are_a_conflict() {
    let mut packages = Packages::new();
    packages.package("a", &["bin/tool"]);
    packages.package("b", &["bin/tool"]);
    packages.install("true", 5, "a");
    packages.install("true", 5, "b");
    packages.refused(expect![[r#"
        Unable to build profile. There is a conflict for the following files:

          a/bin/tool
          b/bin/tool"#]]);
}

#[test]
fn files_and_directories_do_not_mix() {
    let mut packages = Packages::new();
    packages.package("a", &["share"]);
    packages.package("b", &["share/x"]);
    packages.install("true", 1, "a");
    packages.install("true", 2, "b");
    packages.refused(expect![
        "collision between 'b/share' and non-directory 'a/share'"
    ]);

    let mut packages = Packages::new();
    packages.package("a", &["share/x"]);
    packages.package("b", &["share/y"]);
    packages.package("c", &["share"]);
    for (priority, name) in [(1, "a"), (2, "b"), (3, "c")] {
        packages.install("true", priority, name);
    }
    packages.refused(expect![
        "collision between non-directory 'c/share' and directory 'out/share'"
    ]);
}

#[test]
fn what_packages_ask_for_comes_after_them() {
    let mut packages = Packages::new();
    packages.package("a", &["bin/tool"]);
    packages.package("dep", &["bin/tool", "bin/dep"]);
    packages.package("deeper", &["bin/dep", "bin/deeper"]);
    for (name, wanted) in [("a", "dep"), ("dep", "deeper")] {
        let support = packages.path(name).join("nix-support");
        fs::create_dir(&support).unwrap();
        let text = format!(" {}\n", packages.path(wanted).display());
        fs::write(support.join("propagated-user-env-packages"), text).unwrap();
    }
    packages.install("true", 5, "a");
    packages.check(expect![[r#"
        bin
          deeper -> deeper/bin/deeper
          dep -> dep/bin/dep
          tool -> a/bin/tool
        manifest.nix -> /store/manifest
    "#]]);
}

#[test]
fn some_files_are_left_out() {
    let mut packages = Packages::new();
    packages.package(
        "a",
        &[
            ".hidden",
            "nix-support/setup-hook",
            "propagated-build-inputs",
            "share/info/dir",
            "share/info/a.info",
            "share/perllocal.pod",
            "manifest.json",
            "dangling -> nowhere",
        ],
    );
    packages.package("b", &["share/info/dir", "share/perllocal.pod"]);
    packages.package("off", &["bin/off"]);
    packages.install("true", 5, "a");
    packages.install("1", 5, "b");
    packages.install("false", 5, "off");
    packages.check(expect![[r#"
        manifest.nix -> /store/manifest
        share
          info
            a.info -> a/share/info/a.info
    "#]]);
    let log = packages.short(&String::from_utf8(packages.log.clone()).unwrap());
    expect![[r#"
        @nix {"action":"msg","level":1,"msg":"warning: skipping dangling symlink 'out/dangling'"}
    "#]]
    .assert_eq(&log);
}

#[test]
fn a_package_that_is_a_file_is_left_out() {
    let mut packages = Packages::new();
    fs::write(packages.path("file"), "").unwrap();
    packages.install("true", 5, "file");
    packages.check(expect![[r#"
        manifest.nix -> /store/manifest
    "#]]);
}

#[test]
fn a_list_that_is_not_whole_is_refused() {
    for (list, expected) in [
        ("true", "a list with priorities"),
        ("true 5", "a list with numbers of outputs"),
        ("true 5 2 /a", "a list that is whole"),
    ] {
        let mut packages = Packages::new();
        list.clone_into(&mut packages.derivations);
        let error = packages.build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
