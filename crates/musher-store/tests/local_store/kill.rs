//! A process that imports, registers and collects is killed at random instants;
//! the store it leaves is sound every time. `MUSHER_KILLS` says how often, and
//! `MUSHER_SEED` where to begin.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use musher_store::local::{
    Garbage, GcOptions, ImportChecks, LocalOptions, LocalStore, RealisationKey, StoredRealisation,
    VerifyOptions,
};

use crate::nix::verify;
use crate::support::{Sample, scratch_dir};

/// The store that the child works in.
const ROOT: &str = "MUSHER_TEST_KILL_ROOT";
const SEED: &str = "MUSHER_TEST_KILL_SEED";
/// Kills where nobody asks for more.
const FEW: u64 = 12;
/// The longest that a child lives.
const LIFE: Duration = Duration::from_millis(150);

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn a_killed_process_leaves_a_sound_store() {
    let dir = scratch_dir();
    let root = dir.path();
    let mut numbers = Numbers(number("MUSHER_SEED", 1));
    let mut worked = 0;
    for kill in 0..number("MUSHER_KILLS", FEW) {
        let seed = numbers.below(u64::MAX);
        let life = LIFE.mul_f64(numbers.below(1000) as f64 / 1000.0);
        kill_after(child(root, seed), life);
        let paths = assert_sound(root, kill, seed);
        worked = worked.max(paths);
        if kill % 10 == 9 {
            verify(root);
            // So that looking at all of it does not take ever longer.
            collect_all(root);
        }
    }
    assert!(worked > 0, "no child lived long enough to import anything");
    let store = collect_all(root);
    let left = std::fs::read_dir(store.real_store_dir())
        .expect("the store")
        .count();
    assert_eq!(left, 1, "only .links");
    verify(root);
}

fn collect_all(root: &Path) -> LocalStore {
    let store = LocalStore::open(LocalOptions::below(root)).expect("the store");
    let report = store.collect_garbage(&GcOptions::new(Garbage::All), &mut |_| {});
    report.expect("a report");
    store
}

fn child(root: &Path, seed: u64) -> Child {
    // Cargo may replace the file meanwhile; the process is still this one.
    Command::new("/proc/self/exe")
        .args(["--exact", "kill::works_until_it_is_killed", "--nocapture"])
        .env(ROOT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child")
}

/// Kills the child when its life is over, unless it ended, which it must not.
fn kill_after(mut child: Child, life: Duration) {
    let stderr = child.stderr.take().expect("its standard error");
    let (ended, end) = channel();
    let reader = thread::spawn(move || {
        let said = std::io::read_to_string(stderr).unwrap_or_default();
        let _ = ended.send(());
        said
    });
    let lived = end.recv_timeout(life);
    child.kill().expect("a kill");
    child.wait().expect("its end");
    let said = reader.join().expect("what it said");
    assert_eq!(lived, Err(RecvTimeoutError::Timeout), "{said}");
}

/// Everything valid is there, whole, with what it refers to. How many paths are.
fn assert_sound(root: &Path, kill: u64, seed: u64) -> usize {
    let store = LocalStore::open(LocalOptions::below(root)).expect("the store");
    let options = VerifyOptions {
        contents: true,
        forget: false,
    };
    let report = store.verify(options, &mut |_| {}).expect("a report");
    let damages = &report.damages;
    assert!(damages.is_empty(), "kill {kill}, seed {seed}: {damages:?}");
    let paths = store.all_valid_paths().expect("the paths");
    let closure = store.closure(&paths).expect("a closure");
    assert_eq!(closure.len(), paths.len(), "kill {kill}, seed {seed}");
    paths.len()
}

/// The child's work; nothing where no parent asks for it.
#[test]
fn works_until_it_is_killed() {
    let Some(root) = env::var_os(ROOT) else {
        return;
    };
    let mut numbers = Numbers(number(SEED, 0));
    let store = LocalStore::open(LocalOptions::below(root)).expect("the store");
    loop {
        match numbers.below(12) {
            0 => {
                let garbage = Garbage::Bytes(numbers.below(100_000));
                let collected = store.collect_garbage(&GcOptions::new(garbage), &mut |_| {});
                collected.expect("a report");
            }
            _ => import_some(&store, &mut numbers),
        }
    }
}

/// Imports a few paths that refer to each other, and registers a realisation.
fn import_some(store: &LocalStore, numbers: &mut Numbers) {
    let mut importer = store
        .importer(ImportChecks::default())
        .expect("an importer");
    let lib = Sample::tree(&format!("lib-{}", numbers.below(50)), 20);
    importer
        .add(&lib.info, &mut &lib.nar[..])
        .expect("a library");
    let mut last = lib.info.path;
    for _ in 0..numbers.below(8) {
        let text = "text ".repeat(usize::try_from(numbers.below(5_000)).expect("a length"));
        let user = Sample::file("user", &text, &[&last]);
        importer
            .add(&user.info, &mut &user.nar[..])
            .expect("a user");
        last = user.info.path;
    }
    importer.finish().expect("a registration");
    let realisation = StoredRealisation {
        keys: BTreeSet::from([RealisationKey::Hash(format!(
            "sha256:{:064x}",
            numbers.below(1 << 40)
        ))]),
        output: "out".to_owned(),
        path: last,
        signatures: BTreeSet::new(),
    };
    store
        .register_realisation(&realisation)
        .expect("a realisation");
}
