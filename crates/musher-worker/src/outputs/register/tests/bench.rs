//! A store, and a build in it whose outputs lie beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use expect_test::Expect;
use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode};
use musher_store::local::{LocalOptions, LocalStore};
use nix_derivation::StorePath;
use tempfile::TempDir;

use crate::outputs::{
    Finished, OutputRules, Rejection, ScratchOutput, Verdict, register_outputs, scratch_paths,
};

/// A store with one input in it, and a build whose outputs lie beside it.
pub(super) struct Build {
    pub(super) scratch: TempDir,
    pub(super) store: LocalStore,
    pub(super) drv_path: StorePath,
    pub(super) derivation: BasicDerivation,
    pub(super) outputs: BTreeMap<String, ScratchOutput>,
    pub(super) input: StorePath,
    pub(super) mode: BuildMode,
    pub(super) keep_failed: bool,
}

pub(super) const INPUT_ADDRESSED: (&str, &str) = ("", "");
pub(super) const FLOATING: (&str, &str) = ("r:sha256", "");

impl Build {
    /// A build of outputs, each `(algorithm, hash)` as in a derivation.
    pub(super) fn new(outputs: &[(&str, (&str, &str))]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = LocalStore::open(LocalOptions::below(scratch.path().join("root"))).unwrap();
        let drv_path = path("dc04vv14dak1c1r48qa0m23vr9jy8sm0-pkg.drv");
        let input = path("zc842j0rz61mjsp3h3wp5ly71ak6qgdn-input");
        let specs = outputs.iter().enumerate();
        let specs = specs.map(|(index, (name, (hash_algo, hash)))| {
            let known = path(&format!("{}-pkg{}", digits(index), suffix(name)));
            let output = BasicOutput {
                path: hash_algo.is_empty().then_some(known),
                hash_algo: (*hash_algo).to_owned(),
                hash: (*hash).to_owned(),
            };
            ((*name).to_owned(), output)
        });
        let derivation = BasicDerivation {
            outputs: specs.collect(),
            input_sources: BTreeSet::from([input.clone()]),
            system: "x86_64-linux".to_owned(),
            builder: "/bin/sh".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
        };
        let mut build = Self {
            scratch,
            store,
            drv_path,
            derivation,
            outputs: BTreeMap::new(),
            input,
            mode: BuildMode::Normal,
            keep_failed: false,
        };
        build.place(&BTreeSet::new());
        build.add_input();
        build
    }

    /// Says where outputs are made; not at the paths in `occupied`.
    pub(super) fn place(&mut self, occupied: &BTreeSet<StorePath>) {
        let store_dir = self.store.store_dir();
        let paths = scratch_paths(store_dir, &self.drv_path, &self.derivation, occupied).unwrap();
        let room = self.scratch.path().join("room");
        fs::create_dir_all(&room).unwrap();
        let outputs = paths.into_iter().map(|(name, path)| {
            let location = room.join(path.to_basename());
            (name, ScratchOutput { path, location })
        });
        self.outputs = outputs.collect();
    }

    pub(super) fn add_input(&self) {
        let real = self.store.real_path(&self.input);
        fs::write(&real, "input").unwrap();
        let nar = nix_archive::nar::hash_regular(b"input", false);
        let info = musher_protocol::types::PathInfo {
            path: self.input.clone(),
            deriver: None,
            nar_hash: musher_protocol::types::NarHash(nar.sha256),
            nar_size: nar.size,
            references: BTreeSet::new(),
            registration_time: 0,
            ultimate: true,
            signatures: BTreeSet::new(),
            ca: None,
        };
        self.store.register(&[info]).unwrap();
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        let value = self.filled(value);
        self.derivation
            .env
            .insert(name.to_owned(), value.into_bytes());
        self
    }

    /// Where `output` lies.
    pub(super) fn at(&self, output: &str) -> PathBuf {
        self.outputs[output].location.clone()
    }

    /// Has the build program write `text` to `output`, at `file` in it if that
    /// is not empty. `{name}` is the path of an output as the program knows
    /// it, `{input}` that of the input.
    pub(super) fn wrote(self, output: &str, file: &str, text: &str) -> Self {
        let mut path = self.at(output);
        if !file.is_empty() {
            path.push(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&path, self.filled(text)).unwrap();
        self
    }

    pub(super) fn filled(&self, text: &str) -> String {
        let store_dir = self.store.store_dir();
        let mut text = text.replace("{input}", &store_dir.render_path(&self.input));
        for (name, output) in &self.outputs {
            let path = store_dir.render_path(&output.path);
            text = text.replace(&format!("{{{name}}}"), &path);
        }
        text
    }

    pub(super) fn finish(&self) -> Verdict {
        let rules = OutputRules::of(&self.derivation, self.store.store_dir()).unwrap();
        let roots = self.store.temp_roots().unwrap();
        let finished = Finished {
            drv_path: &self.drv_path,
            derivation: &self.derivation,
            rules: &rules,
            scratch: &self.outputs,
            inputs: &BTreeSet::from([self.input.clone()]),
            roots: &roots,
            mode: self.mode,
            keep_failed: self.keep_failed,
            owners: None,
        };
        register_outputs(&self.store, &finished).unwrap()
    }

    /// The outputs' paths, all of them being accepted.
    #[track_caller]
    pub(super) fn paths(&self) -> BTreeMap<String, StorePath> {
        match self.finish() {
            Verdict::Accepted(outputs) => outputs
                .into_iter()
                .map(|(name, built)| (name, built.path))
                .collect(),
            Verdict::Rejected(rejection) => panic!("rejected: {rejection}"),
        }
    }

    /// Finds every output accepted, registered as it is on disk, and with the
    /// references `expected`: `out -> dev input`.
    #[track_caller]
    pub(super) fn accepted(&self, expected: Expect) -> BTreeMap<String, StorePath> {
        let paths = self.paths();
        let mut names: BTreeMap<&StorePath, &str> = paths
            .iter()
            .map(|(name, path)| (path, name.as_str()))
            .collect();
        names.insert(&self.input, "input");
        let mut shown = String::new();
        for (name, path) in &paths {
            let info = self.store.path_info(path).unwrap().unwrap();
            let real = self.store.real_path(path);
            let nar = nix_archive::nar::hash_path(&real, nix_archive::nar::CaseHack::Disabled);
            assert_eq!(nar.unwrap().sha256, info.nar_hash.0, "{name}");
            assert!(info.ultimate && info.deriver.as_ref() == Some(&self.drv_path));
            let references: BTreeSet<&str> =
                info.references.iter().map(|path| names[path]).collect();
            let references = Vec::from_iter(references);
            shown += format!("{name} -> {}", references.join(" ")).trim_end();
            shown += "\n";
        }
        expected.assert_eq(&shown);
        self.nothing_is_left();
        paths
    }

    #[track_caller]
    pub(super) fn rejected(&self, expected: Expect) -> Rejection {
        let Verdict::Rejected(rejection) = self.finish() else {
            panic!("accepted");
        };
        let scratch = format!("{}/", self.scratch.path().display());
        expected.assert_eq(&rejection.to_string().replace(&scratch, ""));
        self.nothing_is_left();
        rejection
    }

    /// No place of ours is left in the store directory.
    #[track_caller]
    pub(super) fn nothing_is_left(&self) {
        for entry in fs::read_dir(self.store.real_store_dir()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_str().unwrap().starts_with("tmp-"), "{name:?}");
        }
    }

    pub(super) fn valid_outputs(&self) -> usize {
        self.store.all_valid_paths().unwrap().len() - 1
    }
}

pub(super) fn path(basename: &str) -> StorePath {
    StorePath::from_basename(basename.as_bytes()).unwrap()
}

/// 32 digits of which the first tells `index`.
pub(super) fn digits(index: usize) -> String {
    format!("{index}{}", "a".repeat(31))
}

pub(super) fn suffix(output: &str) -> String {
    match output {
        "out" => String::new(),
        other => format!("-{other}"),
    }
}
