//! Builds without a sandbox, in a store where its paths say: each test has a
//! `/nix` of its own, over that of the machine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::scene::{Scene, everybody, simple};

#[test]
fn builds_without_a_sandbox_see_the_machine_and_say_so() {
    for who in everybody() {
        let Some(mut scene) = Scene::bare(who) else {
            return;
        };
        let seen = scene.dir().join("seen");
        fs::write(&seen, "of the machine").expect("a file");
        fs::set_permissions(&seen, fs::Permissions::from_mode(0o644)).expect("ours");
        let read = format!("cat {0}; id -u; pwd; cat {0} > $out", seen.display());
        scene.add(&simple("bare", &read));
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
        assert!(!came.sandboxed);
        assert_ne!(came.log[0], "of the machine0", "no build runs as root");
        assert!(came.log[1].starts_with("/nix/var/nix/"), "{:?}", came.log);
        let out = came.outputs["out"].path.clone();
        assert_eq!(scene.read(&out), "of the machine");
        let store = fs::metadata(scene.real("/nix/store")).expect("a store");
        assert_eq!(store.mode() & 0o002, 0, "not everybody's to write to");
        assert_eq!(scene.build().status, "AlreadyValid");
    }
}

#[test]
fn what_a_failed_build_left_is_not_in_the_way() {
    for who in everybody() {
        let Some(mut scene) = Scene::bare(who) else {
            return;
        };
        let flag = scene.dir().join("flag");
        let text = format!(
            "mkdir $out || exit 9; echo half > $out/file; chmod 0 $out; test -e {}",
            flag.display()
        );
        scene.add(&simple("twice", &text));
        let came = scene.build();
        assert_eq!(
            came.exit.as_deref(),
            Some("exit code 1"),
            "{who:?}: {came:?}"
        );
        assert!(!came.sandboxed);
        fs::write(&flag, "").expect("a file");
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
    }
}

#[test]
fn a_program_that_is_not_there_ran_without_a_sandbox_too() {
    for who in everybody() {
        let Some(mut scene) = Scene::bare(who) else {
            return;
        };
        let mut absent = crate::scene::script("absent", "true").input_addressed_output("out");
        *absent.builder_mut() = "/no/such/program".into();
        scene.add(&absent.build().expect("a derivation"));
        let came = scene.build();
        assert_eq!(came.status, "PermanentFailure", "{who:?}: {came:?}");
        assert!(!came.sandboxed);
    }
}
