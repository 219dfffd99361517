//! Builds that wait or are refused, and what is said of them.

use expect_test::expect;

use super::script::check;

#[test]
fn every_machine_gives_its_reason() {
    check(
        "
        0s  join new
        0s  start arm systems=arm
        0s  start big mandatory=big
        0s  start busy
        0s  start off slots=2
        0s  drain off
        0s  start gone
        0s  start none slots=0
        5s  away gone retry=35s connection refused
        5s  request a
        6s  request b
        6s  request c features=kvm
        7s  why a
        7s  why b
        7s  why c
        7s  fleet
        ",
        expect![[r#"
            5s  assign a -> busy (lease 1)
            6s  refuse c: no machine can build for `x` with feature `kvm`: `arm` offers only `arm` and lacks `kvm`; `big` lacks `kvm` and takes only builds that require `big`; `busy` lacks `kvm`; `gone` lacks `kvm`; `new` lacks `kvm`; `none` lacks `kvm` and has no slots; `off` lacks `kvm`
            7s  a runs since 5.000s on busy (lease 1)
            7s  b waits since 6.000s, 0 ahead
                `arm` offers only `arm`
                `big` takes only builds that require `big`
                `busy` has its one slot taken
                `gone` is away: connection refused
                `new` is away: not connected yet
                `none` has no slots
                `off` is drained
            7s  c is gone
            7s  arm 0/1 available
            7s  big 0/1 available
            7s  busy 1/1 available
            7s  gone 0/1 away until 35.000s: connection refused
            7s  new 0/1 away: not connected yet
            7s  none 0/0 available
            7s  off 0/2 drained, available
        "#]],
    );
}

#[test]
fn nothing_is_refused_because_machines_are_away_drained_or_busy() {
    check(
        "
        0s  join b1
        0s  request a
        0s  request b
        1s  available b1
        2s  drain b1
        3s  finished 1
        4s  why b
        5s  resume b1
        ",
        expect![[r#"
            1s  assign a -> b1 (lease 1)
            4s  b waits since 0.000s, 0 ahead
                `b1` is drained
            5s  assign b -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn what_no_machine_could_build_is_refused_naming_what_each_lacks() {
    check(
        "
        0s  join b1 systems=arm,x
        0s  join b2 features=kvm mandatory=big
        0s  join b3 systems=arm slots=0 mandatory=big,kvm
        0s  request a features=kvm,nixos-test
        0s  request b system=riscv
        0s  why a
        ",
        expect![[r#"
            0s  refuse a: no machine can build for `x` with features `kvm`, `nixos-test`: `b1` lacks `kvm`, `nixos-test`; `b2` lacks `nixos-test` and takes only builds that require `big`; `b3` offers only `arm` and lacks `nixos-test` and takes only builds that require `big` and has no slots
            0s  refuse b: no machine can build for `riscv`: `b1` offers only `arm`, `x`; `b2` offers only `x` and takes only builds that require `big`; `b3` offers only `arm` and takes only builds that require `big`, `kvm` and has no slots
            0s  a is gone
        "#]],
    );
}

#[test]
fn without_machines_everything_is_refused() {
    check(
        "
        0s  request a
        0s  could system=x features=kvm
        ",
        expect![[r#"
            0s  refuse a: no machine can build for `x`: there are no machines
            0s  no machine can build for `x` with feature `kvm`: there are no machines; configure a machine for `x` with feature `kvm`
        "#]],
    );
}

#[test]
fn a_changed_configuration_refuses_in_order_what_became_hopeless() {
    check(
        "
        0s  join b1 features=kvm,big
        0s  join b2 systems=arm
        0s  request a features=kvm
        0s  request b system=arm
        0s  request c
        0s  request d features=big
        0s  request e features=kvm
        1s  join b1 features=big
        2s  remove b1
        3s  remove b2
        ",
        expect![[r#"
            1s  refuse a: no machine can build for `x` with feature `kvm`: `b1` lacks `kvm`; `b2` offers only `arm` and lacks `kvm`
            1s  refuse e: no machine can build for `x` with feature `kvm`: `b1` lacks `kvm`; `b2` offers only `arm` and lacks `kvm`
            2s  refuse c: no machine can build for `x`: `b2` offers only `arm`
            2s  refuse d: no machine can build for `x` with feature `big`: `b2` offers only `arm` and lacks `big`
            3s  refuse b: no machine can build for `arm`: there are no machines
        "#]],
    );
}

#[test]
fn a_running_build_outlives_a_change_of_its_machine() {
    check(
        "
        0s  start b1 slots=2
        0s  request a
        0s  request b
        0s  request c
        1s  join b1 slots=1
        2s  finished 1
        2s  why c
        3s  join b1 slots=1 systems=arm
        4s  finished 2
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  assign b -> b1 (lease 2)
            2s  c waits since 0.000s, 0 ahead
                `b1` has its one slot taken
            3s  refuse c: no machine can build for `x`: `b1` offers only `arm`
        "#]],
    );
}

#[test]
fn a_returned_build_keeps_its_place_and_blames_nobody() {
    check(
        "
        0s  start b1
        0s  request a
        0s  request b
        1s  drain b1
        2s  returned 1
        2s  why a
        2s  why b
        3s  resume b1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            2s  a waits since 2.000s, 0 ahead
                `b1` is drained
            2s  b waits since 0.000s, 1 ahead
                `b1` is drained
            3s  assign a -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn a_cancelled_build_keeps_its_slot_until_it_has_stopped() {
    check(
        "
        0s  start b1
        0s  request a
        0s  request b
        1s  cancel a
        1s  why a
        1s  why b
        2s  finished 1
        3s  request c
        3s  cancel c
        3s  finished 2
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  cancel lease 1 on b1
            1s  a is gone
            1s  b waits since 0.000s, 0 ahead
                `b1` has its one slot taken
            2s  assign b -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn requesting_again_changes_nothing() {
    check(
        "
        0s  start b1
        0s  request a
        0s  request a
        0s  request b
        1s  request b system=arm
        1s  finished 1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            1s  assign b -> b1 (lease 2)
        "#]],
    );
}

#[test]
fn a_refusal_does_not_name_the_machine_whose_removal_caused_it() {
    check(
        "
        0s  start b1
        0s  join b2 systems=arm
        0s  request a
        1s  join b1 systems=arm
        2s  remove b1
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            2s  cancel lease 1 on b1
            2s  refuse a: no machine can build for `x`: `b2` offers only `arm`
        "#]],
    );
}
