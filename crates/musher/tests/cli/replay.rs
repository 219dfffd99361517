//! `musher replay` on graphs so small that what comes of them is known.

use expect_test::expect;

use super::support::Place;

/// Two builds, and one that needs both.
const GRAPH: &str = r#"{"root": "app", "nodes": [
    {"name": "short", "seconds": 10, "output_bytes": 1000000, "deps": []},
    {"name": "long", "seconds": 60, "output_bytes": 2000000, "deps": []},
    {"name": "app", "seconds": 20, "output_bytes": 0, "deps": [0, 1]}
]}"#;

const WRONG: &str = r#"{"nodes": [{"name": "a", "seconds": 1, "deps": [3]}]}"#;

fn place() -> Place {
    Place::with(&[("graph.json", GRAPH), ("wrong.json", WRONG)])
}

#[test]
fn a_replay_is_told_in_tables() {
    place().check(
        "replay DIR/graph.json --fleet 1x1,0.5x1 --mbit 8 --estimates exact",
        &expect![[r#"
            exit 0
            POLICY  MAKESPAN  LOWER BOUND  RATIO   FOR SLOTS  FOR TRANSFERS  WORST SLOWDOWN
            musher  90.0 s    80.0 s       1.1250  10.0 s     0.0 s          1.12

            THE LAST TO END                   TOOK
            before it was asked for           0.0 s
            building, on the fastest machine  80.0 s
            longer than that, on slower ones  0.0 s
            waiting for slots                 10.0 s
            waiting for transfers             0.0 s
            waiting for reports               0.0 s

            MACHINE  SPEED  SLOTS  BUILDS  BUSY     FETCHED
            m1       1      1      3       100.0 %  0 B
            m2       0.5    1      0       0.0 %    0 B

            REQUEST  ARRIVED  ENDED   SLOWDOWN
            app      0.0 s    90.0 s  1.12
        "#]],
    );
}

#[test]
fn policies_are_compared() {
    place().check(
        "replay DIR/graph.json --fleet 1x1,0.5x1 --policy musher,stock,random,dependents,depth \
         --estimates exact",
        &expect![[r#"
            exit 0
            POLICY      MAKESPAN  LOWER BOUND  RATIO   FOR SLOTS  FOR TRANSFERS  WORST SLOWDOWN
            musher      90.0 s    80.0 s       1.1250  10.0 s     0.0 s          1.12
            stock       140.0 s   80.0 s       1.7500  0.0 s      0.0 s          1.75
            random      140.0 s   80.0 s       1.7500  0.0 s      0.0 s          1.75
            dependents  140.0 s   80.0 s       1.7500  0.0 s      0.0 s          1.75
            depth       140.0 s   80.0 s       1.7500  0.0 s      0.0 s          1.75
        "#]],
    );
}

#[test]
fn a_replay_is_told_as_json_with_a_schedule() {
    let place = place();
    place.check(
        "replay DIR/graph.json --fleet 1x2 --arrive 0,30 --json --schedule DIR/schedule.json",
        &expect![[r#"
            exit 0
            {"policy":"musher","makespan_s":120.0,"lower_bound_s":110.0,"ratio":1.0909090909090908,"waiting_s":{"dependencies":130.0,"slots":10.0,"transfers":0.0},"chain_s":{"arrival":30.0,"building":80.0,"slower_machines":0.0,"slots":10.0,"transfers":0.0,"reports":0.0},"machines":[{"name":"m1","speed":1.0,"slots":2,"attempts":6,"building_s":180.0,"fetching_s":0.0,"fetched_bytes":0,"busy":0.75}],"requests":[{"root":"app","arrival_s":0.0,"end_s":80.0,"slowdown":1.0},{"root":"app","arrival_s":30.0,"end_s":120.0,"slowdown":1.125}]}
        "#]],
    );
    expect![[r#"
        {"machines":[{"name":"m1","speed":1.0,"slots":2,"mbit":0.0}],"attempts":[{"node":0,"machine":"m1","start_s":0.0,"end_s":10.0},{"node":3,"machine":"m1","start_s":30.0,"end_s":40.0},{"node":1,"machine":"m1","start_s":0.0,"end_s":60.0},{"node":2,"machine":"m1","start_s":60.0,"end_s":80.0},{"node":4,"machine":"m1","start_s":40.0,"end_s":100.0},{"node":5,"machine":"m1","start_s":100.0,"end_s":120.0}]}
    "#]].assert_eq(&place.read("schedule.json"));
}

#[test]
fn mistakes_are_named() {
    let place = place();
    place.check(
        "replay DIR/wrong.json --fleet 1x1",
        &expect![[r#"
        exit 2
        --- messages
        error: cannot use the graph in `DIR/wrong.json`
        cause: node 0 (`a`) depends on node 3; only nodes before it are expected
    "#]],
    );
    place.check(
        "replay DIR/graph.json --fleet fast",
        &expect![[r#"
        exit 2
        --- messages
        error: `fast` is no machine: SPEEDxSLOTS or SPEEDxSLOTS@MBIT is expected, as in `0.7x4`
    "#]],
    );
    place.check(
        "replay DIR/graph.json DIR/graph.json --fleet 1x1 --arrive 1,2,3",
        &expect![[r#"
            exit 2
            --- messages
            error: 3 times of arrival are given for 2 graphs
        "#]],
    );
    place.check(
        "replay DIR/graph.json --fleet 1x1 --mbit 0",
        &expect![[r#"
        exit 2
        --- messages
        error: a link cannot have 0 Mbit a second
    "#]],
    );
}

#[test]
fn a_week_of_faults_can_be_played_again() {
    let said = place().run("replay --chaos 1");
    assert!(said.starts_with("exit 0\n"), "{said}");
    assert!(said.ends_with("builds, nothing wrong\n"), "{said}");
}
