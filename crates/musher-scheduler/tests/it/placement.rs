//! Where builds go: what suits them, which of several machines, in which order.

use expect_test::expect;

use super::script::check;

#[test]
fn independent_builds_spread_evenly() {
    check(
        "
        0s  start b1 slots=2
        0s  start b2 slots=2
        0s  start b3 slots=2
        0s  request a
        0s  request b
        0s  request c
        0s  request d
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  assign b -> b2 (lease 2)
            0s  assign c -> b3 (lease 3)
            0s  assign d -> b1 (lease 4)
        "#]],
    );
}

#[test]
fn slots_are_filled_in_proportion_to_their_number() {
    check(
        "
        0s  start b1 slots=1
        0s  start b4 slots=4
        0s  request a
        0s  request b
        0s  request c
        0s  request d
        0s  request e
        0s  request f
        ",
        expect![[r#"
            0s  assign a -> b4 (lease 1)
            0s  assign b -> b4 (lease 2)
            0s  assign c -> b4 (lease 3)
            0s  assign d -> b1 (lease 4)
            0s  assign e -> b4 (lease 5)
        "#]],
    );
}

#[test]
fn a_fast_machine_is_filled_first() {
    check(
        "
        0s  start fast slots=4 speed=2
        0s  start slow slots=4
        0s  request a
        0s  request b
        0s  request c
        0s  request d
        0s  request e
        0s  request f
        ",
        expect![[r#"
            0s  assign a -> fast (lease 1)
            0s  assign b -> fast (lease 2)
            0s  assign c -> fast (lease 3)
            0s  assign d -> fast (lease 4)
            0s  assign e -> slow (lease 5)
            0s  assign f -> slow (lease 6)
        "#]],
    );
}

#[test]
fn a_chain_stays_where_its_inputs_are() {
    check(
        "
        0s  start b1 slots=2
        0s  start b2 slots=2
        0s  request other
        0s  request a inputs=stdenv:1000
        1s  finished 2
        1s  holds b1 stdenv
        1s  holds b2 stdenv a
        1s  request b inputs=stdenv:1000,a:1
        2s  request more
        2s  finished 3
        2s  holds b2 b
        2s  request c inputs=stdenv:1000,b:1
        ",
        expect![[r#"
            0s  assign other -> b1 (lease 1)
            0s  assign a -> b2 (lease 2)
            1s  assign b -> b2 (lease 3)
            2s  assign more -> b1 (lease 4)
            2s  assign c -> b2 (lease 5)
        "#]],
    );
}

#[test]
fn held_inputs_beat_load_but_not_a_full_machine() {
    check(
        "
        0s  start b1 slots=3
        0s  start b2 slots=3
        0s  holds b1 a
        0s  request a1 inputs=a:1
        0s  request a2 inputs=a:1
        0s  request a3 inputs=a:1
        0s  request a4 inputs=a:1
        ",
        expect![[r#"
            0s  assign a1 -> b1 (lease 1)
            0s  assign a2 -> b1 (lease 2)
            0s  assign a3 -> b1 (lease 3)
            0s  assign a4 -> b2 (lease 4)
        "#]],
    );
}

#[test]
fn the_machine_that_holds_most_bytes_is_preferred() {
    check(
        "
        0s  start b1
        0s  start b2
        0s  start b3
        0s  holds b1 small
        0s  holds b2 big
        0s  holds b3 small other
        0s  request app inputs=small:10,big:100,other:20
        ",
        expect![[r#"
            0s  assign app -> b2 (lease 1)
        "#]],
    );
}

#[test]
fn a_small_difference_of_speed_does_not_beat_held_inputs() {
    check(
        "
        0s  start near slots=2 speed=0.8
        0s  start fast slots=2 speed=1
        0s  holds near a
        0s  request app inputs=a:1
        ",
        expect![[r#"
            0s  assign app -> near (lease 1)
        "#]],
    );
}

#[test]
fn a_big_difference_of_speed_beats_held_inputs() {
    check(
        "
        0s  start fast slots=2 speed=2
        0s  start near slots=2 speed=1
        0s  holds near a
        0s  request app inputs=a:1000000000
        ",
        expect![[r#"
            0s  assign app -> fast (lease 1)
        "#]],
    );
}

#[test]
fn forgotten_paths_attract_no_builds() {
    check(
        "
        0s  start b1 slots=9
        0s  start b2 slots=9
        0s  holds b2 a b
        0s  request with inputs=a:1,b:1
        1s  forgets b2 a
        1s  request without inputs=a:1
        2s  request half inputs=a:1,b:1
        3s  forgets b2
        3s  request none inputs=a:1,b:1
        ",
        expect![[r#"
            0s  assign with -> b2 (lease 1)
            1s  assign without -> b1 (lease 2)
            2s  assign half -> b2 (lease 3)
            3s  assign none -> b1 (lease 4)
        "#]],
    );
}

#[test]
fn system_and_features_are_matched_as_in_nix() {
    check(
        "
        0s  start arm slots=9 systems=arm,x
        0s  start big slots=9 mandatory=big features=kvm
        0s  start kvm slots=9 features=kvm
        0s  could system=x
        0s  could system=arm
        0s  could system=x features=kvm
        0s  could system=x features=big
        0s  could system=x features=big,kvm
        0s  could system=builtin
        0s  could system=arm features=big,kvm
        ",
        expect![[r#"
            0s  could be built on arm, kvm
            0s  could be built on arm
            0s  could be built on kvm
            0s  could be built on big
            0s  could be built on big
            0s  could be built on arm, kvm
            0s  no machine can build for `arm` with features `big`, `kvm`: `arm` lacks `big`, `kvm`; `big` offers only `x`; `kvm` offers only `x` and lacks `big`; configure a machine for `arm` with features `big`, `kvm`
        "#]],
    );
}

#[test]
fn builds_wait_in_the_order_they_were_requested() {
    check(
        "
        0s  start b1
        0s  request a
        0s  request b
        0s  request c
        1s  finished 1
        2s  finished 2
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  assign b -> b1 (lease 2)
            2s  assign c -> b1 (lease 3)
        "#]],
    );
}

#[test]
fn a_build_that_cannot_run_yet_does_not_hold_up_others() {
    check(
        "
        0s  start arm systems=arm
        0s  start b1
        0s  request a system=arm
        0s  request b system=arm
        0s  request c
        0s  why b
        1s  finished 1
        ",
        expect![[r#"
            0s  assign a -> arm (lease 1)
            0s  assign c -> b1 (lease 2)
            0s  b waits since 0.000s, 0 ahead
                `arm` has its one slot taken
                `b1` offers only `x`
            1s  assign b -> arm (lease 3)
        "#]],
    );
}
