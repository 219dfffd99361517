//! Several add the same paths at once: threads, and Nix.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use musher_store::local::{
    ImportChecks, Imported, LocalError, LocalOptions, LocalStore, Wait, Wanter,
};
use nix_archive::nar::{CaseHack, restore};

use crate::nix::{skipped, verify};
use crate::support::{Sample, Scratch, scratch_dir};

#[test]
fn threads_that_add_the_same_paths_in_any_order_agree() {
    let scratch = Scratch::new();
    let samples: Vec<Sample> = (0..40)
        .map(|number| Sample::tree(&format!("tree-{number}"), 3))
        .collect();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (samples, scratch, start) = (&samples, &scratch, &start);
            scope.spawn(move || {
                let store = LocalStore::open(LocalOptions::below(scratch.root()));
                let store = store.expect("a store");
                let mut importer = store
                    .importer(ImportChecks::default())
                    .expect("an importer");
                start.wait();
                for number in 0..samples.len() {
                    let sample = match thread % 2 {
                        0 => &samples[number],
                        _ => &samples[samples.len() - 1 - number],
                    };
                    importer
                        .add(&sample.info, &mut &sample.nar[..])
                        .expect("an import");
                }
                importer.finish().expect("a registration");
            });
        }
    });
    assert_eq!(
        scratch.store.all_valid_paths().expect("paths").len(),
        samples.len()
    );
    verify(scratch.root());
}

/// A NAR that does not come.
struct Stalled(Receiver<()>);

impl Read for Stalled {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        // Its other end is dropped.
        let _ = self.0.recv();
        Ok(0)
    }
}

#[test]
fn a_slow_source_stalls_nobody_who_wants_what_came_before() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 3);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    let (resume, stalled) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let importer = scratch.store.importer(ImportChecks::default());
            let mut importer = importer.expect("an importer");
            let added = importer.add(&lib.info, &mut &lib.nar[..]);
            added.expect("an import");
            begun.send(()).expect("somebody who waits");
            importer.add(&app.info, &mut Stalled(stalled))
        });
        begins.recv().expect("a beginning");
        let other = LocalStore::open(LocalOptions::below(scratch.root())).expect("a store");
        let imported = other.import(&lib.info, &mut &lib.nar[..], ImportChecks::default());
        assert_eq!(imported.expect("an import"), Imported::WasValid);
        drop(resume);
        assert!(slow.join().expect("a thread").is_err());
    });
    verify(scratch.root());
}

#[test]
fn nobody_waits_for_a_lock_that_nobody_wants() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 3);
    let paths = BTreeSet::from([lib.info.path.clone()]);
    let locks = scratch.store.lock_outputs(&paths, Wait::No);
    let _locks = locks.expect("an answer").expect("locks");
    let wanter = Wanter::default();
    let wanted = wanter.wanted();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let importer = scratch.store.importer(ImportChecks::default());
            let mut importer = importer.expect("an importer").while_wanted(wanted);
            importer.add(&lib.info, &mut &lib.nar[..])
        });
        drop(wanter);
        let error = waiting.join().expect("a thread").expect_err("no lock");
        assert!(matches!(error, LocalError::Unwanted { .. }), "{error}");
    });
}

#[test]
fn nix_adds_the_same_paths_meanwhile() {
    let scratch = Scratch::new();
    let trees = scratch_dir();
    let samples: Vec<Sample> = (0..30)
        .map(|number| Sample::tree(&format!("tree-{number}"), 20))
        .collect();
    let mut command = Command::new("nix-store");
    command.arg("--store").arg(scratch.root()).arg("--add");
    for sample in &samples {
        let tree = trees.path().join(sample.info.path.name());
        restore(&sample.nar, &tree, CaseHack::native()).expect("a tree");
        command.arg(tree);
    }
    let nix = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let Ok(nix) = nix else {
        skipped("nix-store");
        return;
    };
    let mut importer = scratch
        .store
        .importer(ImportChecks::default())
        .expect("an importer");
    for sample in samples.iter().rev() {
        importer
            .add(&sample.info, &mut &sample.nar[..])
            .expect("an import");
    }
    importer.finish().expect("a registration");
    let ended = nix.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert_eq!(
        scratch.store.all_valid_paths().expect("paths").len(),
        samples.len()
    );
    verify(scratch.root());
}
