//! Machines that fail: attempts go elsewhere, within bounds.

use expect_test::expect;

use super::script::check;

#[test]
fn a_machine_going_away_requeues_its_builds_elsewhere_in_place() {
    check(
        "
        0s  start b1 slots=2
        0s  request a
        0s  request b
        0s  request c
        3s  away b1 retry=10s no answer for 5 s
        3s  why a
        4s  start b2
        5s  finished 3
        5s  finished 1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  assign b -> b1 (lease 2)
            3s  cancel lease 1 on b1
            3s  cancel lease 2 on b1
            3s  a waits since 3.000s, 0 ahead
                `b1` is away: no answer for 5 s
                fault on `b1`: lost: no answer for 5 s
            4s  assign a -> b2 (lease 3)
            5s  assign b -> b2 (lease 4)
        "#]],
    );
}

#[test]
fn removing_a_machine_requeues_its_builds_without_blame() {
    check(
        "
        0s  start b1
        0s  request a
        0s  join b2
        1s  remove b1
        1s  why a
        1s  finished 1
        2s  available b2
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  cancel lease 1 on b1
            1s  a waits since 1.000s, 0 ahead
                `b2` is away: not connected yet
            2s  assign a -> b2 (lease 2)
        "#]],
    );
}

#[test]
fn a_faulted_build_waits_for_a_busy_machine_rather_than_go_back() {
    check(
        "
        0s  start b1
        0s  start b2
        0s  request a
        0s  request b
        1s  faulted 1 disk full
        1s  why a
        2s  request c
        3s  finished 2
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  assign b -> b2 (lease 2)
            1s  a waits since 1.000s, 0 ahead
                `b1` failed at it before, so a busy machine is waited for
                `b2` has its one slot taken
                fault on `b1`: disk full
            2s  assign c -> b1 (lease 3)
            3s  assign a -> b2 (lease 4)
        "#]],
    );
}

#[test]
fn a_faulted_build_goes_back_when_no_other_machine_is_open() {
    check(
        "
        0s  start b1
        0s  start b2
        0s  away b2 unreachable
        0s  request a
        1s  faulted 1 killed for memory
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  assign a -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn faults_take_turns_and_end() {
    check(
        "
        0s  start b1
        0s  start b2
        0s  request a
        1s  faulted 1 one
        2s  faulted 2 two
        3s  faulted 3 three
        4s  faulted 4 four
        4s  why a
        5s  faulted 5 five
        5s  why a
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  assign a -> b2 (lease 2)
            2s  assign a -> b1 (lease 3)
            3s  assign a -> b2 (lease 4)
            4s  assign a -> b1 (lease 5)
            4s  a runs since 4.000s on b1 (lease 5)
                fault on `b1`: one
                fault on `b2`: two
                fault on `b1`: three
                fault on `b2`: four
            5s  give up a: on `b1`: one; on `b2`: two; on `b1`: three; on `b2`: four; on `b1`: five
            5s  a is gone
        "#]],
    );
}

#[test]
fn late_reports_of_an_old_lease_are_ignored() {
    check(
        "
        0s  start b1
        0s  request a
        1s  away b1 no answer for 5 s
        2s  available b1
        3s  faulted 1 broken pipe
        3s  finished 1
        3s  why a
        4s  finished 2
        4s  finished 2
        4s  why a
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  cancel lease 1 on b1
            2s  assign a -> b1 (lease 2)
            3s  a runs since 2.000s on b1 (lease 2)
                fault on `b1`: lost: no answer for 5 s
            4s  a is gone
        "#]],
    );
}

#[test]
fn a_machine_that_comes_back_has_all_its_slots() {
    check(
        "
        0s  start b1
        0s  request a
        1s  cancel a
        2s  away b1 no answer for 5 s
        3s  request b
        4s  available b1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  cancel lease 1 on b1
            4s  assign b -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn a_fault_on_the_last_machine_that_suited_refuses() {
    check(
        "
        0s  start b1
        0s  request a
        1s  join b1 systems=arm
        2s  faulted 1 disk full
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            2s  refuse a: no machine can build for `x`: `b1` offers only `arm`
        "#]],
    );
}

#[test]
fn events_about_unknown_machines_and_builds_are_ignored() {
    check(
        "
        0s  available b1
        0s  away b1 gone
        0s  drain b1
        0s  resume b1
        0s  holds b1 a
        0s  forgets b1
        0s  remove b1
        0s  cancel a
        0s  finished 7
        0s  fleet
        ",
        expect![[r#""#]],
    );
}
