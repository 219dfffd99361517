//! Our way of coming from derivations to store paths, without an executor: the
//! host's shell runs the build program where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode, NarHash, PathInfo};
use musher_store::local::LocalStore;
use musher_worker::builtin::{Builtin, BuiltinOrder, Hosted};
use musher_worker::outputs::{
    Finished, OutputRules, ScratchOutput, Verdict, register_outputs, scratch_paths,
};
use nix_archive::nar::{CaseHack, hash_path};
use nix_derivation::store_path::hash_placeholder;
use nix_derivation::{ContentAddressMethod, Derivation, Output, StorePath};

use crate::host::{End, Host, copy};

/// Builds each derivation; `before` is where Nix's store is.
pub(crate) fn build_all(
    host: &Host,
    before: &Path,
    derivations: &BTreeMap<String, StorePath>,
) -> BTreeMap<String, End> {
    let store = host.store();
    let ends = derivations.iter().map(|(name, drv)| {
        let bytes = fs::read(before.join(drv.to_basename())).expect("a derivation");
        let drv_name = drv.name().trim_end_matches(".drv");
        let derivation = Derivation::from_aterm_bytes_in(&bytes, drv_name, host.store_dir());
        let derivation = derivation.expect("a derivation");
        let mut build = Build::new(host, &store, drv, &derivation);
        build.add_inputs(before);
        let end = build.run(name);
        (name.clone(), end)
    });
    ends.collect()
}

struct Build<'a> {
    host: &'a Host,
    store: &'a LocalStore,
    drv: &'a StorePath,
    parsed: &'a Derivation,
    derivation: BasicDerivation,
    scratch: BTreeMap<String, ScratchOutput>,
}

impl<'a> Build<'a> {
    fn new(
        host: &'a Host,
        store: &'a LocalStore,
        drv: &'a StorePath,
        parsed: &'a Derivation,
    ) -> Self {
        let derivation = basic(parsed);
        let paths = scratch_paths(&host.store_dir(), drv, &derivation, &BTreeSet::new());
        let scratch = paths.expect("paths").into_iter().map(|(name, path)| {
            let location = store.real_path(&path);
            (name, ScratchOutput { path, location })
        });
        Self {
            host,
            store,
            drv,
            parsed,
            scratch: scratch.collect(),
            derivation,
        }
    }

    /// Copies sources from where Nix put them.
    fn add_inputs(&self, before: &Path) {
        for input in &self.derivation.input_sources {
            if self.store.is_valid(input).expect("the database") {
                continue;
            }
            let real = self.store.real_path(input);
            copy(&before.join(input.to_basename()), &real);
            let nar = hash_path(&real, CaseHack::Disabled).expect("a NAR");
            let info = PathInfo {
                path: input.clone(),
                deriver: None,
                nar_hash: NarHash(nar.sha256),
                nar_size: nar.size,
                references: BTreeSet::new(),
                registration_time: 0,
                ultimate: false,
                signatures: BTreeSet::new(),
                ca: None,
            };
            self.store.register(&[info]).expect("registering");
        }
    }

    fn run(&mut self, name: &str) -> End {
        let room = self.host.path(&format!("room-{name}"));
        fs::create_dir(&room).expect("a directory");
        match Builtin::of_builder(&self.derivation.builder) {
            Some(builtin) => {
                if let Err(error) = self.run_builtin(builtin.expect("a builtin")) {
                    return End::Failed(error.to_string());
                }
            }
            None => self.run_program(&room),
        }
        let rules = OutputRules::of(&self.derivation, self.store.store_dir()).expect("rules");
        let roots = self.store.temp_roots().expect("roots");
        let finished = Finished {
            drv_path: self.drv,
            derivation: &self.derivation,
            rules: &rules,
            scratch: &self.scratch,
            inputs: &self.derivation.input_sources,
            roots: &roots,
            mode: BuildMode::Normal,
            keep_failed: false,
            owners: None,
        };
        match register_outputs(self.store, &finished).expect("registering") {
            Verdict::Rejected(rejection) => End::Failed(rejection.to_string()),
            Verdict::Accepted(outputs) => {
                let paths = outputs.values().map(|built| built.path.clone());
                let paths = paths.map(|path| self.store.store_dir().render_path(&path));
                let paths: Vec<String> = paths.collect();
                End::Built(
                    self.host
                        .built(self.store, paths.iter().map(String::as_str)),
                )
            }
        }
    }

    fn run_builtin(&self, builtin: Builtin) -> Result<(), Box<dyn Error>> {
        let outputs = self.scratch.iter();
        let outputs = outputs.map(|(name, scratch)| (name.clone(), scratch.location.clone()));
        let order = BuiltinOrder::new(&self.derivation, outputs.collect(), Hosted::default());
        let order = BuiltinOrder::read(&mut order.to_json().as_slice())?;
        // It works in its build directory, of which a test has only one.
        Ok(builtin.run(&order, &mut std::io::sink())?)
    }

    /// Runs the build program, which must succeed.
    fn run_program(&self, room: &Path) {
        let derivation = &self.derivation;
        let mut command = Command::new(&derivation.builder);
        command
            .args(&derivation.args)
            .env_clear()
            .current_dir(room)
            .stdin(Stdio::null());
        let paths = self.scratch.iter();
        let paths = paths.map(|(name, scratch)| (name.clone(), scratch.path.clone()));
        let paths: BTreeMap<String, StorePath> = paths.collect();
        let files = self.parsed.structured_attrs_files_with_output_paths(&paths);
        if let Some(files) = files.expect("structured attributes") {
            fs::write(room.join(".attrs.json"), files.json).expect("a file");
            fs::write(room.join(".attrs.sh"), files.shell).expect("a file");
            command.env("PATH", "/usr/bin:/bin");
        } else {
            for (key, value) in &derivation.env {
                let mut value = String::from_utf8(value.clone()).expect("text");
                for (name, path) in &paths {
                    let path = self.store.store_dir().render_path(path);
                    value = value.replace(&hash_placeholder(name), &path);
                }
                command.env(key, value);
            }
        }
        crate::host::succeeds(&mut command);
    }
}

/// A derivation as a builder is given it.
fn basic(derivation: &Derivation) -> BasicDerivation {
    let outputs = derivation.outputs().iter().map(|(name, output)| {
        let path = output.path_in(derivation.store_dir(), derivation.name(), name);
        let (hash_algo, hash) = match output {
            Output::InputAddressed { .. } => (String::new(), String::new()),
            Output::Fixed { ca } => {
                let hash = ca.hash().to_nix_base16_string();
                let (algorithm, digits) = hash.split_once(':').expect("a hash");
                (prefixed(ca.method(), algorithm), digits.to_owned())
            }
            Output::Floating {
                method,
                hash_algorithm,
            } => (prefixed(*method, hash_algorithm.as_str()), String::new()),
            Output::Deferred | Output::Impure { .. } => panic!("not in this test: {output:?}"),
        };
        let output = BasicOutput {
            path: path.expect("a name"),
            hash_algo,
            hash,
        };
        (name.clone(), output)
    });
    let mut env = derivation.environment().clone();
    if let Some(attributes) = derivation.structured_attrs() {
        env.insert("__json".to_owned(), attributes.raw_json().to_vec());
    }
    BasicDerivation {
        outputs: outputs.collect(),
        input_sources: derivation.input_sources().clone(),
        system: derivation.system().to_owned(),
        builder: derivation.builder().to_owned(),
        args: derivation.arguments().to_vec(),
        env,
    }
}

fn prefixed(method: ContentAddressMethod, algorithm: &str) -> String {
    let prefix = match method {
        ContentAddressMethod::Flat => "",
        ContentAddressMethod::Nar => "r:",
        ContentAddressMethod::Text => "text:",
        ContentAddressMethod::Git => "git:",
    };
    format!("{prefix}{algorithm}")
}
