//! What is known of builds afterwards.

use std::fs;

use serde_json::Value;

use super::{Home, has_sandbox, reader, simple};

/// What a command printed as JSON.
fn json(told: &str) -> Value {
    let text = told.strip_prefix("exit 0\n").expect(told);
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn what_was_built_is_known_while_the_coordinator_runs_and_after() {
    if !has_sandbox() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let home = Home::new();
    let hello = simple("hello-1.0", "echo hello > $out");
    home.document("graph.json", &[&hello, &reader("world-2", &hello)]);
    let built = home.run("build graph.json");
    assert!(built.starts_with("exit 0\n"), "{built}");

    let running = json(&home.run("history hello --json"));
    let attempt = &running["attempts"][0];
    assert_eq!(attempt["name"], "hello-1.0");
    assert_eq!(attempt["package"], "hello");
    assert_eq!(attempt["machine"], "here");
    assert_eq!(attempt["outcome"], "built");
    assert_eq!(running["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(running["estimates"][0]["confidence"], "similar");
    let wall = attempt["wall-ms"].as_f64().expect("a time") / 1000.0;
    let expected = running["estimates"][0]["seconds"].as_f64().expect("a time");
    assert!((wall - expected).abs() < 0.002, "{running}");
    let all = json(&home.run("history --json"));
    assert_eq!(all["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(all["requests"][0]["builds"], 2);
    let unknown = home.run("history nonsense");
    assert_eq!(
        unknown,
        "exit 1\n--- messages\nnote:  the history knows nothing of `nonsense`\n"
    );

    home.stop();
    let mut stopped = json(&home.run("history hello --json"));
    // It was learnt anew, from milliseconds.
    stopped["estimates"][0]["seconds"] = running["estimates"][0]["seconds"].clone();
    assert_eq!(stopped, running);
    let file = home.path().join("out.json");
    let told = home.run(&format!("history export {}", file.display()));
    assert_eq!(
        told,
        "exit 0\n--- messages\nnote:  wrote a graph of 2 builds to `DIR/out.json`\n"
    );
    let graph = fs::read_to_string(&file).expect("written");
    let graph: Value = serde_json::from_str(&graph).expect("JSON");
    assert_eq!(graph["root"], "world-2");
    assert_eq!(graph["nodes"][0]["name"], "hello-1.0");
    assert_eq!(graph["nodes"][1]["deps"], serde_json::json!([0]));
    let piped = home.run("history export --request 1 -");
    assert_eq!(json(&piped), graph);
}
