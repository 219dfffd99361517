//! How builds end that do not end well.

use std::fs;

use crate::scene::{Scene, everybody, simple};

#[test]
fn a_build_that_fails() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.order.keep_failed = true;
        scene.add(&simple("fails", "echo text > file; exit 3"));
        let came = scene.build();
        assert_eq!(came.status, "PermanentFailure", "{who:?}: {came:?}");
        assert_eq!(came.exit.as_deref(), Some("exit code 3"));
        assert_eq!(came.fault, None);
        let reason = "Reason: builder failed with exit code 3.";
        assert!(came.error.contains(reason), "{}", came.error);
        let kept = came.kept.expect("a directory");
        assert_eq!(
            fs::read_to_string(kept.join("file")).expect("a file"),
            "text\n"
        );
        scene.assert_empty();

        scene.order.keep_failed = false;
        assert_eq!(scene.build().kept, None);
    }
}

#[test]
fn a_build_that_is_killed_and_one_that_never_ran() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.add(&simple("killed", "/bin/kill -TERM $$"));
        scene.add(&simple("forgot", "true"));
        let absent = crate::scene::script("absent", "true");
        let mut absent = absent.input_addressed_output("out");
        *absent.builder_mut() = "/no/such/program".into();
        scene.add(&absent.build().expect("a derivation"));
        let came = scene.build_all();
        // A process 1 is not killed by its own signals.
        assert_eq!(came[0].status, "OutputRejected", "{who:?}: {came:?}");
        assert_eq!(came[1].status, "OutputRejected", "{who:?}: {came:?}");
        let text = "failed to produce output path for output 'out'";
        assert!(came[1].error.contains(text), "{}", came[1].error);
        assert_eq!(came[2].status, "PermanentFailure", "{who:?}: {came:?}");
        let text = "error: executing '/no/such/program': No such file or directory";
        assert_eq!(came[2].log, [text]);
        assert_eq!(came[2].fault, None);
    }
}

#[test]
fn limits_end_builds() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.add(&simple("silent", "echo start; sleep 100"));
        scene.order.max_silent = Some(1000);
        let came = scene.build();
        assert_eq!(came.status, "TimedOut", "{who:?}: {came:?}");
        assert_eq!(came.log, ["start"]);
        assert!(came.error.ends_with("timed out after 1 seconds of silence"));

        let mut scene = Scene::new(who);
        scene.add(&simple("long", "while :; do echo; sleep 0.1; done"));
        scene.order.timeout = Some(1000);
        let came = scene.build();
        assert_eq!(came.status, "TimedOut", "{who:?}: {came:?}");
        assert!(came.error.ends_with("timed out after 1 seconds"));

        let mut scene = Scene::new(who);
        scene.add(&simple("loud", "while :; do echo loud; done"));
        scene.order.max_log = Some(1000);
        let came = scene.build();
        assert_eq!(came.status, "LogLimitExceeded", "{who:?}: {came:?}");
        assert!(came.log.len() <= 200);
        scene.assert_empty();
    }
}

#[test]
fn a_cancelled_build_leaves_nothing() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        // Children that left their session, and a directory nobody may enter.
        let text = "mkdir closed; echo > closed/file; chmod 0 closed
                    (sleep 1000 &) ; echo ready; sleep 1000";
        scene.add(&simple("cancelled", text));
        scene.order.cancel_at = Some("ready".into());
        let came = scene.build();
        assert_eq!(came.status, "", "{who:?}: {came:?}");
        assert!(came.outputs.is_empty());
        scene.assert_empty();
    }
}

#[test]
fn a_full_disk_is_the_machines_fault() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.add(&simple("full", "echo > file; sleep 1000"));
        // More than any disk has.
        scene.order.disk_reserve = Some(u64::MAX / 2);
        // It is tried elsewhere, and would only take more of the disk.
        scene.order.keep_failed = true;
        let came = scene.build();
        assert_eq!(came.kept, None);
        assert_eq!(came.status, "TransientFailure", "{who:?}: {came:?}");
        assert_eq!(came.fault.as_deref(), Some("DiskFull"));
    }
}

#[test]
fn what_a_machine_lacks_is_said() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        let needs = crate::scene::script("needs", "true")
            .environment("requiredSystemFeatures", "kvm")
            .input_addressed_output("out")
            .build()
            .expect("a derivation");
        scene.add(&needs);
        let came = scene.build();
        assert_eq!(came.status, "InputRejected", "{who:?}: {came:?}");
        assert!(came.error.contains("Required features: {kvm}"));
    }
}
