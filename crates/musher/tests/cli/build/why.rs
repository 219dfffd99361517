//! What is said of builds that were made, run, or were never asked for.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Home, has_sandbox, reader, simple};

fn json(home: &Home, words: &str) -> Value {
    let said = home.run(words);
    let (_, text) = said.split_once('\n').expect("an exit code first");
    let text = text.split("--- messages").next().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn a_build_says_where_its_time_went_and_why_it_was_there() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let hello = simple("hello", "echo hello > $out");
    let world = reader("world", &hello);
    home.document("graph.json", &[&hello, &world]);
    let built = home.run("build graph.json");
    assert!(built.contains("; these machines need "), "{built}");
    assert!(built.contains("the longest of these: "), "{built}");

    let said = home.run("why result");
    for line in [
        "ended on here: built after ",
        "there because there was no other slot for it\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let record = json(&home, "why result --json");
    assert_eq!(record["state"], "ended");
    assert_eq!(record["placement"]["chosen"]["machine"], "here");
    assert_eq!(record["placement"]["others"], serde_json::json!([]));

    // Another coordinator knows it from the home store and from the history.
    home.stop();
    let other = simple("other", "echo other > $out");
    home.document("other.json", &[&other]);
    home.run("build other.json --out-link other");
    let said = home.run("why result");
    assert!(said.starts_with("exit 0\n"), "{said}");
    for line in [
        "nobody asks for it\n",
        "is valid in the home store",
        "last built on here in ",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(
        said.contains("from 1 build of the same derivation"),
        "{said}"
    );
    let never = home.run("why DIR/nowhere");
    assert!(never.starts_with("exit 2\n"), "{never}");
}

#[test]
fn a_build_that_runs_and_one_that_is_planned_are_told() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    // It ends with who asks for it.
    let hello = simple(
        "hello",
        "echo working; while :; do read line < /dev/zero || :; done",
    );
    let world = reader("world", &hello);
    home.document("graph.json", &[&hello, &world]);
    let dir = home.path().display();
    let mut build = Command::new(env!("CARGO_BIN_EXE_musher"))
        .args(["--json", "build", "--no-link"])
        .arg(format!("{dir}/graph.json"))
        .args(["--config", &format!("{dir}/musher.toml")])
        .args([
            "--run",
            &format!("{dir}/run"),
            "--state",
            &format!("{dir}/state"),
        ])
        .env_clear()
        .env("HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("musher runs");
    let lines = BufReader::new(build.stdout.take().expect("piped")).lines();
    let mut events = lines.map_while(Result::ok);
    assert!(
        events.any(|line| line.contains("\"event\":\"outlook\"") && line.contains("\"running\":1"))
    );
    let path = |derivation: &nix_derivation::Derivation| {
        let path = derivation.drv_path().expect("a path");
        nix_derivation::StoreDir::default().render_path(&path)
    };
    let running = json(&home, &format!("why {} --json", path(&hello)));
    let planned = json(&home, &format!("why {} --json", path(&world)));
    let status = json(&home, "status --json");
    let _ = build.kill();
    let _ = build.wait();
    assert_eq!(running["state"], "running");
    assert_eq!(running["machine"], "here");
    assert_eq!(running["expected"]["confidence"], "guess");
    assert_eq!(planned["state"], "planned");
    assert_eq!(planned["after"], serde_json::json!([path(&hello)]));
    assert_eq!(planned["asked-by"], running["asked-by"]);
    assert_eq!(status["requests"][0]["planned"], 1);
    assert_eq!(status["requests"][0]["running"], 1);
}
