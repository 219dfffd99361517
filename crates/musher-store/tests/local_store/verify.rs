//! Damage is found, and said.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use musher_store::local::{
    Access, Damage, ErrorClass, LocalError, LocalOptions, LocalStore, VerifyOptions, VerifyReport,
};

use crate::support::{Sample, Scratch, scratch_dir};

const THOROUGH: VerifyOptions = VerifyOptions {
    contents: true,
    forget: false,
};

fn verify(store: &LocalStore, options: VerifyOptions) -> VerifyReport {
    store.verify(options, &mut |_| {}).expect("a report")
}

#[test]
fn a_sound_store_has_no_damage() {
    let scratch = Scratch::new();
    let sample = Sample::tree("tree", 10);
    scratch.import(&sample);
    let mut last = None;
    let report = scratch
        .store
        .verify(THOROUGH, &mut |progress| last = Some(progress))
        .expect("a report");
    assert!(report.damages.is_empty(), "{:?}", report.damages);
    assert_eq!((report.paths, report.bytes), (1, sample.info.nar_size));
    assert_eq!(last.map(|last| (last.done, last.total)), Some((1, 1)));
}

#[test]
fn modified_and_missing_paths_are_found() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 2);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    let gone = Sample::file("gone", "soon gone", &[]);
    for sample in [&lib, &app, &gone] {
        scratch.import(sample);
    }
    let file = scratch.store.real_path(&app.info.path);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("a mode");
    fs::write(&file, "something else").expect("a file");
    fs::remove_file(scratch.store.real_path(&gone.info.path)).expect("a file");

    let quick = verify(&scratch.store, VerifyOptions::default());
    assert!(matches!(
        &quick.damages[..],
        [Damage::Gone {
            forgotten: false,
            ..
        }]
    ));
    let report = verify(
        &scratch.store,
        VerifyOptions {
            forget: true,
            ..THOROUGH
        },
    );
    assert!(
        matches!(
            &report.damages[..],
            [
                Damage::Modified { .. },
                Damage::Gone {
                    forgotten: true,
                    ..
                }
            ]
        ),
        "{:?}",
        report.damages
    );
    assert!(!scratch.store.is_valid(&gone.info.path).expect("an answer"));
}

#[test]
fn what_is_gone_and_needed_is_not_forgotten() {
    let scratch = Scratch::new();
    let lib = Sample::file("lib", "a library", &[]);
    let app = Sample::file("app", "a program", &[&lib.info.path]);
    scratch.import(&lib);
    scratch.import(&app);
    fs::remove_file(scratch.store.real_path(&lib.info.path)).expect("a file");
    let report = verify(
        &scratch.store,
        VerifyOptions {
            forget: true,
            contents: false,
        },
    );
    assert!(matches!(
        &report.damages[..],
        [Damage::Gone {
            forgotten: false,
            ..
        }]
    ));
    assert!(scratch.store.is_valid(&lib.info.path).expect("an answer"));
}

#[test]
fn what_is_too_deep_is_not_damaged() {
    let scratch = Scratch::new();
    let sample = Sample::tree("deep", 1);
    scratch.import(&sample);
    let mut place = scratch.store.real_path(&sample.info.path);
    for _ in 0..80 {
        place.push("d");
    }
    fs::create_dir_all(place).expect("directories");
    let report = verify(&scratch.store, THOROUGH);
    assert!(report.damages.is_empty(), "{:?}", report.damages);
    let [path] = &report.unverified[..] else {
        panic!("{:?}", report.unverified);
    };
    assert!(path.to_string().ends_with("cannot be read by this release"));
}

#[test]
fn a_corrupt_database_is_said_to_be_one() {
    let scratch = Scratch::new();
    scratch.import(&Sample::file("text", "some text", &[]));
    let root = scratch.close();
    let database = root.path().join("nix/var/nix/db/db.sqlite");
    fs::write(
        &database,
        "this is no database, but long enough to be taken for one ".repeat(100),
    )
    .expect("a file");
    let error = LocalStore::open(LocalOptions::below(root.path()))
        .err()
        .expect("an error");
    assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    assert!(error.help().is_some());

    fs::write(root.path().join("nix/var/nix/db/schema"), "gibberish").expect("a file");
    let error = LocalStore::open(LocalOptions::below(root.path()))
        .err()
        .expect("an error");
    assert!(matches!(error, LocalError::BadSchema { .. }), "{error}");
    fs::write(root.path().join("nix/var/nix/db/schema"), "11").expect("a file");
    let error = LocalStore::open(LocalOptions::below(root.path()))
        .err()
        .expect("an error");
    assert!(
        matches!(error, LocalError::OtherSchema { found: 11, .. }),
        "{error}"
    );
}

#[test]
fn a_store_whose_making_was_cut_short_is_made() {
    let root = scratch_dir();
    let database = root.path().join("nix/var/nix/db");
    fs::create_dir_all(&database).expect("writable");
    fs::write(database.join("schema"), "").expect("a file");
    LocalStore::open(LocalOptions::below(root.path())).expect("a store");
    let schema = fs::read_to_string(database.join("schema")).expect("a file");
    assert_eq!(schema, "10");
}

#[test]
fn stores_are_made_by_several_at_once() {
    for _ in 0..20 {
        let root = scratch_dir();
        std::thread::scope(|scope| {
            let open = || LocalStore::open(LocalOptions::below(root.path())).map(drop);
            let opening: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            for opened in opening {
                opened.join().expect("no panic").expect("a store");
            }
        });
    }
}

#[test]
fn a_row_that_makes_no_sense_is_found() {
    let scratch = Scratch::new();
    let sample = Sample::file("text", "some text", &[]);
    scratch.import(&sample);
    let database = scratch.store.state_dir().join("db/db.sqlite");
    let connection = rusqlite::Connection::open(database).expect("a database");
    connection
        .execute("update ValidPaths set hash = 'sha256:nothing'", [])
        .expect("a change");
    let error = scratch
        .store
        .path_info(&sample.info.path)
        .expect_err("no info");
    assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    let report = verify(&scratch.store, THOROUGH);
    assert!(matches!(&report.damages[..], [Damage::Row(_)]));
}

#[test]
fn a_store_can_be_read_without_being_written() {
    let read_only = |root: &std::path::Path| LocalOptions {
        access: Access::ReadOnly,
        ..LocalOptions::below(root)
    };
    let empty = scratch_dir();
    let error = LocalStore::open(read_only(empty.path()))
        .err()
        .expect("an error");
    assert!(matches!(error, LocalError::NoStore { .. }), "{error}");
    assert_eq!(fs::read_dir(empty.path()).expect("a directory").count(), 0);

    let scratch = Scratch::new();
    let sample = Sample::file("text", "some text", &[]);
    scratch.import(&sample);
    let store = LocalStore::open(read_only(scratch.root())).expect("a store");
    assert!(store.is_valid(&sample.info.path).expect("an answer"));
    assert!(verify(&store, THOROUGH).damages.is_empty());
    let error = store.register(&[]).expect_err("refused");
    assert!(matches!(error, LocalError::ReadOnly { .. }), "{error}");
    drop(store);

    // Also where nothing can be written beside the database.
    let root = scratch.close();
    let db = root.path().join("nix/var/nix/db");
    for left in ["db.sqlite-wal", "db.sqlite-shm"] {
        fs::remove_file(db.join(left)).ok();
    }
    fs::set_permissions(&db, Permissions::from_mode(0o555)).expect("a mode");
    let store = LocalStore::open(read_only(root.path())).expect("a store");
    assert!(store.is_valid(&sample.info.path).expect("an answer"));
    fs::set_permissions(&db, Permissions::from_mode(0o755)).expect("a mode");
}
