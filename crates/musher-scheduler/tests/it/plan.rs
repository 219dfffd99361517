//! Whole graphs, and several requests at once: what goes first, and what waits
//! for a better slot.

use expect_test::expect;

use super::script::check;

/// The slot of what ended is kept a moment for what needed it; in vain, after 22 s.
#[test]
fn the_longest_row_goes_first() {
    check(
        "
        0s  start b1
        0s  open r1
        0s  plan leaf for=r1 takes=50s
        0s  plan low for=r1 takes=10s
        0s  plan mid for=r1 after=low takes=10s
        0s  plan top for=r1 after=mid takes=100s
        0s  request other takes=5s
        1s  request leaf for=r1 takes=50s
        1s  request low for=r1 takes=10s
        1s  why top
        2s  finished 1
        12s finished 2
        12s request mid for=r1 takes=10s
        22s finished 3
        23s pass
        ",
        expect![[r#"
            0s  assign other -> b1 (lease 1)
            1s  top comes after 1
            2s  assign low -> b1 (lease 2)
            12s assign mid -> b1 (lease 3)
            23s assign leaf -> b1 (lease 4)
        "#]],
    );
}

#[test]
fn what_another_request_plans_on_top_makes_a_build_more_urgent() {
    check(
        "
        0s  start b1
        0s  request busy
        0s  open r1
        0s  request a for=r1 takes=30s
        0s  request b for=r1 takes=20s
        1s  open r2
        1s  plan b for=r2 takes=20s
        1s  plan c for=r2 after=b takes=50s
        2s  close r2
        3s  open r3 owner=me
        3s  plan b for=r3 takes=20s
        3s  plan c for=r3 after=b takes=50s
        4s  finished 1
        5s  why c
        ",
        expect![[r#"
            0s  assign busy -> b1 (lease 1)
            4s  assign b -> b1 (lease 2)
            5s  c comes after 1
        "#]],
    );
}

#[test]
fn requests_take_turns_by_their_shares() {
    check(
        "
        0s  start b1 slots=4
        0s  open r1 owner=anna
        0s  open r2 owner=ben priority=1
        0s  drain b1
        0s  request a1 for=r1 takes=400s
        0s  request a2 for=r1 takes=400s
        0s  request a3 for=r1 takes=400s
        0s  request b1 for=r2 takes=400s
        0s  request b2 for=r2 takes=400s
        0s  request b3 for=r2 takes=400s
        1s  resume b1
        ",
        expect![[r#"
            1s  assign b1 -> b1 (lease 1)
            1s  assign a1 -> b1 (lease 2)
            1s  assign b2 -> b1 (lease 3)
            1s  assign b3 -> b1 (lease 4)
        "#]],
    );
}

#[test]
fn somebody_at_a_terminal_is_served_before_a_mass_rebuild() {
    check(
        "
        0s  start b1 slots=2
        0s  open r1 owner=ci
        0s  request a1 for=r1 takes=1000s
        0s  request a2 for=r1 takes=1000s
        0s  request a3 for=r1 takes=1000s
        1s  open r2 owner=anna
        1s  request b for=r2 takes=10s
        2s  finished 1
        ",
        expect![[r#"
            0s  assign a1 -> b1 (lease 1)
            0s  assign a2 -> b1 (lease 2)
            2s  assign b -> b1 (lease 3)
        "#]],
    );
}

#[test]
fn an_owner_has_no_more_than_their_limit_over_all_requests() {
    check(
        "
        0s  start b1 slots=4
        0s  open r1 owner=anna max=2
        0s  open r2 owner=anna max=2
        0s  request a for=r1
        0s  request b for=r2
        0s  request c for=r2
        1s  why c
        2s  request c
        3s  request d for=r1
        4s  finished 1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  assign b -> b1 (lease 2)
            1s  c waits since 0.000s, 0 ahead
                anna may have 2
                `b1` is about to be given to others
            4s  assign d -> b1 (lease 3)
        "#]],
    );
}

#[test]
fn a_long_build_waits_for_the_fast_machine_and_a_short_one_takes_the_slow() {
    check(
        "
        0s  start fast speed=4
        0s  start slow
        0s  open r1
        0s  request first for=r1 takes=40s
        1s  plan long for=r1 takes=100s
        1s  plan short for=r1 takes=8s
        1s  drain slow
        1s  request short for=r1 takes=8s
        1s  request long for=r1 takes=100s
        2s  resume slow
        3s  why long
        10s finished 1
        ",
        expect![[r#"
            0s  assign first -> fast (lease 1)
            2s  assign short -> slow (lease 2)
            3s  long waits since 1.000s, 0 ahead
                `fast` has its one slot taken
                `slow` has its one slot taken
            10s assign long -> fast (lease 3)
        "#]],
    );
}

#[test]
fn who_waits_for_a_fast_machine_in_vain_takes_the_slow_one() {
    check(
        "
        0s  start fast speed=4
        0s  start slow
        0s  open r1
        0s  request first for=r1 takes=40s
        1s  drain slow
        1s  request long for=r1 takes=100s
        2s  resume slow
        3s  why long
        60s pass
        200s pass
        400s pass
        ",
        expect![[r#"
            0s  assign first -> fast (lease 1)
            3s  long waits since 1.000s, 0 ahead
                `fast` has its one slot taken
                `slow` would finish it later than `fast`, which is soon free
            400sassign long -> slow (lease 2)
        "#]],
    );
}

#[test]
fn what_takes_more_memory_than_is_left_waits() {
    check(
        "
        0s  start b1 slots=4 memory=1000000000
        0s  request big memory=900000000
        0s  request other memory=200000000
        0s  request huge memory=4000000000
        1s  why other
        2s  finished 1
        3s  finished 2
        ",
        expect![[r#"
            0s  assign big -> b1 (lease 1)
            1s  other waits since 0.000s, 0 ahead
                `b1` has 96 MiB of memory left, and it takes 191 MiB
            2s  assign other -> b1 (lease 2)
            3s  assign huge -> b1 (lease 3)
        "#]],
    );
}

#[test]
fn what_is_planned_and_wanted_no_more_is_forgotten() {
    check(
        "
        0s  start b1
        0s  open r1
        0s  open r2
        0s  plan a for=r1
        0s  plan b for=r1 after=a
        0s  plan b for=r2
        1s  close r1
        1s  why a
        1s  why b
        2s  close r2
        2s  why b
        ",
        expect![[r#"
            1s  a is gone
            1s  b comes after 0
            2s  b is gone
        "#]],
    );
}

#[test]
fn measured_speeds_and_links_count() {
    check(
        "
        0s  start one
        0s  start two
        0s  link two 1000
        0s  request a takes=10s inputs=x:1000000
        1s  speed two 100
        1s  request b takes=1000s inputs=x:5000
        ",
        expect![[r#"
            0s  assign a -> one (lease 1)
            1s  assign b -> two (lease 2)
        "#]],
    );
}
