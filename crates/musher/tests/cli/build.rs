//! Builds on workers of this machine, through a coordinator that is started for
//! them, with no Nix in sight.

mod history;
mod requests;
mod why;

use std::fs;
use std::path::Path;
use std::process::Command;

use nix_derivation::store_path::{downstream_placeholder, hash_placeholder};
use nix_derivation::{
    ContentAddressMethod, Derivation, DerivationBuilder, HashAlgorithm, InputDerivation,
    InputDerivationHash, Output, StoreDir, json,
};
use serde_json::json;

use super::support::{Place, run};

/// A place of its own for everything; its coordinator ends with it.
struct Home(Place);

impl Home {
    fn new() -> Self {
        // One machine, so that what it is called is known.
        let config = "home-store = \"DIR/home\"\n\
                      [[machine]]\nname = \"here\"\nconnect = \"local\"\nkind = \"musher\"\n";
        let place = Place::with(&[]);
        let dir = place.path().to_string_lossy().into_owned();
        let text = config.replace("DIR", &dir);
        fs::write(place.path().join("musher.toml"), text).expect("written");
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What the program prints, with this directory written as `DIR`.
    fn run(&self, words: &str) -> String {
        let dir = self.path().display();
        let places = format!("--config {dir}/musher.toml --run {dir}/run --state {dir}/state");
        let words = format!("{places} {words}");
        let args: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        run(&args, self.path()).replace(&dir.to_string(), "DIR")
    }

    /// Writes a document of these derivations.
    fn document(&self, name: &str, derivations: &[&Derivation]) {
        let derivations: serde_json::Map<_, _> = (derivations.iter())
            .map(|derivation| {
                let path = derivation.drv_path().expect("a path");
                let value = json::to_value(derivation).expect("JSON");
                (path.to_basename(), value)
            })
            .collect();
        let document = json!({ "version": 4, "derivations": derivations });
        fs::write(self.path().join(name), document.to_string()).expect("written");
    }

    /// Stops the coordinator, if there is one, and waits until it has ended.
    fn stop(&self) {
        let Some(pid) = self.kill() else {
            return;
        };
        let wait = format!("timeout 30 tail --pid {pid} -s 0.05 -f /dev/null");
        let waited = Command::new("sh").args(["-c", &wait]).status();
        assert!(waited.is_ok_and(|status| status.success()), "it goes on");
    }

    /// Tells the coordinator to stop; its process, if there is one.
    fn kill(&self) -> Option<String> {
        let status = self.run("status --json");
        let (_, rest) = status.split_once("\"pid\": ")?;
        let pid: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let killed = Command::new("kill").arg(&pid).status();
        assert!(killed.is_ok_and(|status| status.success()), "it is ours");
        Some(pid)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the kernel lets this user have a sandbox.
#[expect(clippy::print_stderr, reason = "what was skipped must be said")]
fn has_sandbox() -> bool {
    let unshared = Command::new("unshare").args(["-Ur", "true"]).output();
    let has = unshared.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: the kernel gives this user no namespaces");
    }
    has
}

fn simple(name: &str, script: &str) -> Derivation {
    let builder = DerivationBuilder::new(name, "x86_64-linux", "/bin/sh")
        .input_addressed_output("out")
        .argument("-c")
        .argument(script);
    builder.build().expect("a derivation").into_derivation()
}

/// A derivation that reads the output of `input`.
fn reader(name: &str, input: &Derivation) -> Derivation {
    let path = input.drv_path().expect("a path");
    let read = input.resolved_outputs().expect("outputs")["out"]
        .path
        .clone();
    let read = StoreDir::default().render_path(&read.expect("a path"));
    let hash = input
        .hash_input_derivation_modulo(|_| [0; 32])
        .expect("a hash");
    let builder = DerivationBuilder::new(name, "x86_64-linux", "/bin/sh")
        .input_addressed_output("out")
        .input_derivation(path, InputDerivation::new(["out"]))
        .argument("-c")
        .argument(format!("read line < {read}; echo \"$line, world\" > $out"));
    let built = builder.build_with_input_hashes(|_| hash);
    built.expect("a derivation").into_derivation()
}

#[test]
fn a_graph_is_built_without_nix() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let hello = simple("hello", "echo working; echo hello > $out");
    home.document("graph.json", &[&hello, &reader("world", &hello)]);
    let first = home.run("build graph.json");
    assert!(first.starts_with("exit 0\nDIR/home/nix/store/"), "{first}");
    for line in [
        "2 derivations to build, 0 valid\n",
        "built hello on here in ",
        "built world on here in ",
        "importing 1 path, ",
        "note:  built 2 derivations in ",
        "       here: hello, world\n",
    ] {
        assert!(first.contains(line), "no `{line}` in {first}");
    }
    let result = home.path().join("result");
    let text = fs::read_to_string(&result).expect("a result");
    assert_eq!(text, "hello, world\n");

    let again = home.run("build graph.json --json");
    assert!(again.contains("\"derivations\":[],\"valid\":1"), "{again}");
    assert!(again.contains("\"event\":\"done\""), "{again}");
    let path = home.path().join("hello.drv");
    let drv = StoreDir::default().render_path(&hello.drv_path().expect("a path"));
    assert!(!path.exists());
    let log = home.run(&format!("log {drv}"));
    assert_eq!(log, "exit 0\nworking\n");
    let log = home.run(&format!("log {drv} --json"));
    let piece = format!("{{\"path\":\"{drv}\",\"offset\":0,\"text\":\"working\\n\"}}");
    assert_eq!(log, format!("exit 0\n{piece}\n"));
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
    exec chroot "$root" "$@"
"#;

/// Whether a namespace with a `/nix` of its own can be made.
#[expect(clippy::print_stderr, reason = "what was skipped must be said")]
fn has_mounts() -> bool {
    let unshared = Command::new("unshare").args(["-m", "true"]).output();
    let has = unshared.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: this user cannot mount a `/nix` of its own");
    }
    has
}

/// A home whose machine is a worker without a sandbox that has a `/nix` of its
/// own.
fn bare_home() -> Home {
    let home = Home::new();
    let dir = home.path();
    fs::create_dir_all(dir.join("root/nix")).expect("made");
    fs::write(dir.join("own-nix"), OWN_NIX).expect("written");
    let worker = format!(
        "connect = {{ exec = [\"unshare\", \"-m\", \"sh\", \"{0}/own-nix\", \"{0}/root\", \"{1}\", \
         \"worker\", \"--stdio\", \"--no-sandbox\", \"--linger\", \"1\", \"--state\", \
         \"{0}/worker\", \"--run\", \"{0}/worker\"] }}",
        dir.display(),
        env!("CARGO_BIN_EXE_musher"),
    );
    let config = home.path().join("musher.toml");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text.replace("connect = \"local\"", &worker)).expect("written");
    home
}

#[test]
fn a_worker_without_a_sandbox_builds_and_says_so() {
    if !has_mounts() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = bare_home();
    let hello = simple("hello", "echo hello > $out");
    home.document("graph.json", &[&hello, &reader("world", &hello)]);
    let told = home.run("build graph.json");
    assert!(told.starts_with("exit 0\nDIR/home/nix/store/"), "{told}");
    let line = told
        .lines()
        .find(|line| line.starts_with("built hello on here in "));
    let line = line.unwrap_or_else(|| panic!("no `hello` in {told}"));
    assert!(line.ends_with(", without a sandbox"), "{line}");
    let text = fs::read_to_string(home.path().join("result")).expect("a result");
    assert_eq!(text, "hello, world\n");

    home.document("more.json", &[&simple("more", "echo more > $out")]);
    let told = home.run("build more.json --json");
    assert!(told.contains("\"sandboxed\":false"), "{told}");
    let tested = home.run("machine test here");
    assert!(tested.starts_with("exit 0\n"), "{tested}");
}

#[test]
fn a_worker_without_a_sandbox_does_not_start_in_the_store_of_a_nix() {
    if !has_mounts() {
        return;
    }
    let home = bare_home();
    let database = home.path().join("root/nix/var/nix/db");
    fs::create_dir_all(&database).expect("made");
    fs::write(database.join("db.sqlite"), "").expect("written");
    let tested = home.run("machine test here");
    assert!(tested.starts_with("exit 1\n"), "{tested}");
    for words in [
        "builds without a sandbox need the store at `/nix/store`, which belongs to an installed Nix",
        "as a machine with `kind = \"nix\"`",
    ] {
        assert!(tested.contains(words), "no `{words}` in {tested}");
    }
}

/// A derivation with an address by its content, which mentions the output of
/// `input`.
fn by_content(name: &str, input: Option<&Derivation>) -> Derivation {
    let mut builder = DerivationBuilder::new(name, "x86_64-linux", "/bin/sh").output(
        "out",
        Output::Floating {
            method: ContentAddressMethod::Nar,
            hash_algorithm: HashAlgorithm::Sha256,
        },
    );
    let mut text = name.to_owned();
    if let Some(input) = input {
        let path = input.drv_path().expect("a path");
        let placeholder = downstream_placeholder(&path, ["out"]);
        text.push_str(&placeholder.expect("a name"));
        builder = builder.input_derivation(path, InputDerivation::new(["out"]));
    }
    let builder = builder
        .environment("out", hash_placeholder("out"))
        .argument("-c")
        .argument(format!("echo {text} > $out"));
    let built = builder.build_with_input_hashes(|_| InputDerivationHash::Deferred);
    built.expect("a derivation").into_derivation()
}

#[test]
fn what_came_home_by_its_content_is_known_by_its_derivation() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let library = by_content("library", None);
    let (first, second) = (
        by_content("first", Some(&library)),
        by_content("second", Some(&library)),
    );
    home.document("first.json", &[&library, &first]);
    home.document("second.json", &[&library, &second]);
    let told = home.run("build first.json");
    assert!(told.contains("importing 2 paths, "), "{told}");
    let told = home.run("build first.json --json");
    assert!(told.contains("\"derivations\":[],\"valid\":1"), "{told}");
    // What only came along is known as well.
    let told = home.run("build second.json");
    assert!(told.contains("1 derivation to build, 1 valid\n"), "{told}");
    assert!(told.contains("importing 1 path, "), "{told}");
}

#[test]
fn a_failed_build_is_told_with_its_log() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let bad = simple("bad", "echo it does not work; exit 7");
    home.document("bad.json", &[&bad, &reader("after", &bad)]);
    let told = home.run("build bad.json --no-link");
    assert!(told.starts_with("exit 1\n--- messages\n"), "{told}");
    for line in [
        "failed bad on here after ",
        "-bad.drv`\ncause: builder failed with exit code 7\n       on `here`, after ",
        "log:   it does not work\n",
        ", 1 failed, 1 not built because of that\n",
    ] {
        assert!(told.contains(line), "no `{line}` in {told}");
    }
    assert!(!home.path().join("result").exists());
}

#[test]
fn what_cannot_be_meant_is_said() {
    let home = Home::new();
    let nothing = home.run("build");
    assert!(nothing.starts_with("exit 2\n"), "{nothing}");
    assert!(
        nothing.contains("error: nothing to build was named\n"),
        "{nothing}"
    );
    let missing = home.run("build nowhere.json");
    assert!(missing.starts_with("exit 2\n"), "{missing}");
    assert!(
        missing.contains("error: cannot read `nowhere.json`\n"),
        "{missing}"
    );
    fs::write(home.path().join("bad.json"), "{").expect("written");
    let bad = home.run("build bad.json");
    assert!(
        bad.contains("error: cannot understand `bad.json`\ncause: it is no JSON\n"),
        "{bad}"
    );
    let path = format!("/nix/store/{}-x.drv", "1".repeat(32));
    let invalid = home.run(&format!("build {path}"));
    assert!(
        invalid.contains("is not valid in the home store\n"),
        "{invalid}"
    );
    let log = home.run(&format!("log {path}"));
    assert!(log.contains("error: there is no log of `"), "{log}");
}
