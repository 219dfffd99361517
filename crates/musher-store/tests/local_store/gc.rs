//! Garbage goes, in the right order; what somebody needs stays.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use musher_store::local::{Budget, Garbage, GcOptions, GcReport, LocalError};
use nix_archive::nar::Encoder;
use nix_derivation::StorePath;

use crate::nix::{nix, verify};
use crate::support::{Sample, Scratch};

fn collect(scratch: &Scratch, garbage: Garbage) -> GcReport {
    let report = scratch
        .store
        .collect_garbage(&GcOptions::new(garbage), &mut |_| {});
    report.expect("a report")
}

fn names(paths: &[StorePath]) -> Vec<&str> {
    paths.iter().map(StorePath::name).collect()
}

/// A link below `gcroots`, as `nix-store --add-root` makes it.
fn root(scratch: &Scratch, sample: &Sample) {
    let roots = scratch.store.state_dir().join("gcroots");
    let path = scratch.store.store_dir().render_path(&sample.info.path);
    symlink(path, roots.join(sample.info.path.name())).expect("a link");
}

#[test]
fn what_no_root_needs_goes() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 5);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    let old = Sample::file("old", "an old program", &[&lib.info.path]);
    for sample in [&lib, &app, &old] {
        scratch.import(sample);
    }
    root(&scratch, &app);
    let dry = GcOptions {
        dry_run: true,
        ..GcOptions::new(Garbage::All)
    };
    let found = scratch.store.collect_garbage(&dry, &mut |_| {});
    assert_eq!(names(&found.expect("a report").paths), ["old"]);
    assert!(scratch.store.is_valid(&old.info.path).expect("an answer"));

    let report = collect(&scratch, Garbage::All);
    assert_eq!(names(&report.paths), ["old"]);
    assert!(report.freed > 0);
    assert!(!scratch.store.real_path(&old.info.path).exists());
    assert!(scratch.store.is_valid(&app.info.path).expect("an answer"));
    verify(scratch.root());
}

#[test]
fn indirect_roots_count_as_long_as_they_are_there() {
    let scratch = Scratch::new();
    let app = Sample::file("app", "a program", &[]);
    scratch.import(&app);
    let result = scratch.root().join("result");
    let path = scratch.store.store_dir().render_path(&app.info.path);
    symlink(path, &result).expect("a link");
    let auto = scratch.store.state_dir().join("gcroots/auto");
    fs::create_dir_all(&auto).expect("a directory");
    symlink(&result, auto.join("1")).expect("a link");

    let roots = scratch.store.find_roots().expect("roots");
    assert_eq!(roots[0].link.as_deref(), Some(&*result));
    assert!(collect(&scratch, Garbage::All).paths.is_empty());
    fs::remove_file(&result).expect("a link");
    assert_eq!(names(&collect(&scratch, Garbage::All).paths), ["app"]);
    assert!(fs::symlink_metadata(auto.join("1")).is_err());
}

#[test]
fn what_is_in_use_stays_until_it_is_not() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 5);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    scratch.import(&lib);
    scratch.import(&app);
    let roots = scratch.store.temp_roots().expect("roots");
    roots.add(&app.info.path).expect("a root");
    assert!(collect(&scratch, Garbage::All).paths.is_empty());
    drop(roots);
    assert_eq!(
        names(&collect(&scratch, Garbage::All).paths),
        ["app", "lib"]
    );
}

/// How often a thing is tried that other tests get in the way of: what they start
/// has, for a moment, everything open that this process has.
const TRIES: usize = 10_000;

/// Runs `cat` until its input ends.
fn cat(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut tries = 0..TRIES;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                tries.next().expect("nobody writes to it for ever");
                thread::yield_now();
            }
            child => return child.expect("it runs"),
        }
    }
}

/// What `user` uses stays until `user` is gone.
#[track_caller]
fn kept_by<User>(scratch: &Scratch, sample: &Sample, user: User, end: impl FnOnce(User)) {
    assert!(collect(scratch, Garbage::All).paths.is_empty());
    let roots = scratch.store.find_roots().expect("roots");
    let link = roots[0].link.as_ref().expect("a place");
    assert!(link.starts_with("/proc"), "{}", link.display());
    let these = Garbage::These(BTreeSet::from([sample.info.path.clone()]));
    let refused = scratch
        .store
        .collect_garbage(&GcOptions::new(these), &mut |_| {});
    assert!(matches!(refused, Err(LocalError::InUse { .. })));
    end(user);
    let gone = (0..TRIES).find_map(|_| {
        let gone = collect(scratch, Garbage::All).paths;
        (!gone.is_empty()).then_some(gone)
    });
    assert_eq!(gone, Some(vec![sample.info.path.clone()]));
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().expect("it ends");
}

#[test]
fn what_a_program_has_in_its_environment_stays() {
    let scratch = Scratch::new();
    let app = Sample::file("named", "named by a variable", &[]);
    scratch.import(&app);
    let path = scratch.store.store_dir().render_path(&app.info.path);
    let child = cat(Command::new("cat").env("APP", format!("{path}/bin")));
    kept_by(&scratch, &app, child, end);
}

#[test]
fn where_a_program_is_stays() {
    let scratch = Scratch::new();
    let app = Sample::tree("entered", 3);
    scratch.import(&app);
    let child = cat(Command::new("cat").current_dir(scratch.store.real_path(&app.info.path)));
    kept_by(&scratch, &app, child, end);
}

#[test]
fn what_a_program_has_open_stays() {
    let scratch = Scratch::new();
    let app = Sample::file("opened", "opened by somebody", &[]);
    scratch.import(&app);
    let file = fs::File::open(scratch.store.real_path(&app.info.path)).expect("a file");
    kept_by(&scratch, &app, file, drop);
}

#[test]
fn a_program_that_runs_stays() {
    let scratch = Scratch::new();
    let cat_itself = fs::read("/bin/cat").expect("a program");
    let mut encoder = Encoder::new(Vec::new()).expect("an encoder");
    encoder.regular(None, true, &cat_itself).expect("a file");
    let app = Sample::new("cat", &[], encoder.finish().expect("a NAR"));
    scratch.import(&app);
    let child = cat(&mut Command::new(scratch.store.real_path(&app.info.path)));
    kept_by(&scratch, &app, child, end);
}

fn lists(scratch: &Scratch) -> Vec<String> {
    let lists = fs::read_dir(scratch.store.state_dir().join("temproots")).expect("a directory");
    lists
        .map(|list| fs::read_to_string(list.expect("an entry").path()).expect("a text"))
        .collect()
}

#[test]
fn all_holders_of_a_store_share_one_list() {
    let scratch = Scratch::new();
    let samples: Vec<Sample> = (0..500)
        .map(|number| Sample::file(&format!("path-{number}"), "text", &[]))
        .collect();
    let everybody = scratch.store.temp_roots().expect("roots");
    everybody.add(&samples[0].info.path).expect("a root");
    let mut holders = Vec::new();
    for sample in &samples {
        let roots = scratch.store.temp_roots().expect("roots");
        roots.add(&sample.info.path).expect("a root");
        roots.add(&samples[0].info.path).expect("a root");
        holders.push(roots);
    }
    let text = lists(&scratch).pop().expect("a list");
    assert_eq!(text.matches('\0').count(), samples.len());
    drop(holders.split_off(10));
    let shorter = lists(&scratch);
    assert_eq!(shorter.len(), 1);
    let count = shorter[0].matches('\0').count();
    assert!((10..100).contains(&count), "{count} paths");

    drop(holders);
    let again = scratch.store.temp_roots().expect("roots");
    again.add(&samples[499].info.path).expect("a root");
    scratch.import(&samples[0]);
    scratch.import(&samples[1]);
    scratch.import(&samples[499]);
    assert_eq!(names(&collect(&scratch, Garbage::All).paths), ["path-1"]);
    drop((everybody, again));
    assert!(lists(&scratch).is_empty());
}

#[test]
fn nix_keeps_what_we_use() {
    let scratch = Scratch::new();
    let app = Sample::file("app", "a program", &[]);
    let old = Sample::file("old", "an old program", &[]);
    scratch.import(&app);
    scratch.import(&old);
    let roots = scratch.store.temp_roots().expect("roots");
    roots.add(&app.info.path).expect("a root");
    let root = scratch.root().display().to_string();
    if nix("nix-store", &["--store", &root, "--gc"]).is_none() {
        return;
    }
    let left: Vec<_> = scratch
        .store
        .all_valid_paths()
        .expect("paths")
        .into_iter()
        .collect();
    assert_eq!(names(&left), ["app"]);
}

#[test]
fn a_budget_takes_the_least_recently_used() {
    let scratch = Scratch::new();
    let samples: Vec<Sample> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            let mut sample = Sample::file(name, &name.repeat(1 << 20), &[]);
            // Long ago; what is used again is used now.
            sample.info.registration_time = 1_000_000;
            sample
        })
        .collect();
    for sample in &samples {
        scratch.import(sample);
    }
    // Importing is using, until it is forgotten.
    fs::remove_dir_all(scratch.store.state_dir().join("musher")).ok();
    let store = scratch.reopened();
    store.note_use([&samples[0].info.path]);
    let size = store.size().expect("a size");
    let within = Budget {
        max_store_size: Some(size),
        min_free: None,
    };
    assert!(!store.is_over(&within).expect("an answer"));
    let over = Budget {
        max_store_size: Some(size - 1),
        min_free: None,
    };
    let report = store
        .collect_garbage(&GcOptions::new(Garbage::Over(over)), &mut |_| {})
        .expect("a report");
    assert_eq!(report.paths.len(), 1);
    assert_ne!(names(&report.paths), ["a"]);
}

#[test]
fn garbage_is_collected_though_nobody_knows_when_it_was_used() {
    let scratch = Scratch::new();
    let app = Sample::file("app", "a program", &[]);
    scratch.import(&app);
    let dir = scratch.store.state_dir().join("musher");
    fs::create_dir_all(&dir).expect("a directory");
    for nonsense in ["no database", "", "SQLite format 3\0 and then nonsense"] {
        fs::write(dir.join("last-use.sqlite"), nonsense).expect("a file");
        scratch.import(&app);
        assert_eq!(names(&collect(&scratch, Garbage::All).paths), ["app"]);
    }
    assert!(dir.join("last-use.sqlite.damaged").exists());
}

#[test]
fn chosen_paths_go_unless_something_needs_them() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 5);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    scratch.import(&lib);
    scratch.import(&app);
    let these = |samples: &[&Sample]| {
        let paths: BTreeSet<StorePath> = samples.iter().map(|s| s.info.path.clone()).collect();
        let options = GcOptions::new(Garbage::These(paths));
        scratch.store.collect_garbage(&options, &mut |_| {})
    };
    assert!(matches!(these(&[&lib]), Err(LocalError::InUse { .. })));
    let report = these(&[&lib, &app]).expect("a report");
    assert_eq!(names(&report.paths), ["app", "lib"]);
}

#[test]
fn what_killed_processes_left_goes() {
    let scratch = Scratch::new();
    let store_dir = scratch.store.real_store_dir();
    let half = "7rjj86a15146lcag2hb4bmjyqk7kr4ba-half";
    fs::create_dir_all(store_dir.join(half).join("deep")).expect("a directory");
    fs::write(store_dir.join(format!("{half}.lock")), "").expect("a file");
    fs::write(store_dir.join("nonsense"), "x").expect("a file");
    let kept = StorePath::from_basename(half.as_bytes()).expect("a path");
    let roots = scratch.store.temp_roots().expect("roots");
    roots.add(&kept).expect("a root");
    assert_eq!(collect(&scratch, Garbage::All).strays, 1);
    drop(roots);
    assert_eq!(collect(&scratch, Garbage::All).strays, 2);
    let left: Vec<_> = fs::read_dir(store_dir).expect("the store").collect();
    assert_eq!(left.len(), 1, "only .links");
}

/// Whoever adds a root and then finds the path valid keeps it, however the
/// collector runs meanwhile.
#[test]
fn roots_added_during_a_collection_hold() {
    let scratch = Scratch::new();
    let samples: Vec<Sample> = (0..200)
        .map(|number| Sample::file("some", &format!("text {number}"), &[]))
        .collect();
    for sample in &samples {
        scratch.import(sample);
    }
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let user = scope.spawn(|| {
            let roots = scratch.store.temp_roots().expect("roots");
            start.wait();
            let mut held = Vec::new();
            for sample in samples.iter().rev() {
                roots.add(&sample.info.path).expect("a root");
                if scratch
                    .store
                    .is_valid(&sample.info.path)
                    .expect("an answer")
                {
                    held.push(&sample.info.path);
                }
            }
            (roots, held)
        });
        start.wait();
        collect(&scratch, Garbage::All);
        let (_roots, held) = user.join().expect("a user");
        for path in held {
            assert!(scratch.store.is_valid(path).expect("an answer"), "{path}");
            assert!(scratch.store.real_path(path).exists(), "{path}");
        }
    });
    verify(scratch.root());
}
