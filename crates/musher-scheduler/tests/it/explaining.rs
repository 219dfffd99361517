//! Why builds are where they are, and when requests may be over.

use expect_test::expect;

use super::script::check;

#[test]
fn the_best_others_are_remembered_with_the_choice() {
    check(
        "
        0s  start b1
        0s  where a
        0s  request a takes=100s
        0s  where a
        0s  start b2
        0s  start b3 speed=0.5
        0s  holds b2 x
        0s  request b takes=100s inputs=x:1000000000,y:100
        0s  where b
        0s  start b4 slots=3
        0s  start b5
        0s  start b6
        0s  start b7
        0s  request c takes=100s
        0s  where c
        ",
        expect![[r#"
            0s  a does not run
            0s  assign a -> b1 (lease 1)
            0s  a: there was no other slot for it
                b1 free, 0 bytes missing, ends at 100.000s
            0s  assign b -> b2 (lease 2)
            0s  b: it finishes it first
                b2 free, 100 bytes missing, ends at 100.000s
                b1 free at 100.000s, 1000000100 bytes missing, ends at 210.000s
                b3 free, 1000000100 bytes missing, ends at 210.000s
            0s  assign c -> b4 (lease 3)
            0s  c: of those that finish it about as soon it had the least to do
                b4 free, 0 bytes missing, ends at 100.000s
                b5 free, 0 bytes missing, ends at 100.000s
                b6 free, 0 bytes missing, ends at 100.000s
                b7 free, 0 bytes missing, ends at 100.000s
                b1 free at 100.000s, 0 bytes missing, ends at 200.000s
        "#]],
    );
}

#[test]
fn what_speaks_for_a_slot_is_what_decided() {
    check(
        "
        0s  start b1
        0s  start b2
        0s  request a takes=100s
        0s  where a
        1s  start b3 slots=2
        1s  request b takes=100s
        1s  where b
        2s  start b4 slots=2 speed=4
        2s  request c takes=100s
        2s  where c
        3s  finished 1
        3s  finished 2
        3s  start b9 speed=1.04
        3s  drain b3
        3s  drain b4
        3s  request d takes=100s
        3s  where d
        ",
        expect![[r#"
            0s  assign a -> b1 (lease 1)
            0s  a: it is as good as any other
                b1 free, 0 bytes missing, ends at 100.000s
                b2 free, 0 bytes missing, ends at 100.000s
            1s  assign b -> b3 (lease 2)
            1s  b: of those that finish it about as soon it had the least to do
                b3 free, 0 bytes missing, ends at 101.000s
                b2 free, 0 bytes missing, ends at 101.000s
                b1 free at 100.000s, 0 bytes missing, ends at 200.000s
            2s  assign c -> b4 (lease 3)
            2s  c: it finishes it first
                b4 free, 0 bytes missing, ends at 27.000s
                b2 free, 0 bytes missing, ends at 102.000s
                b3 free, 0 bytes missing, ends at 102.000s
                b1 free at 100.000s, 0 bytes missing, ends at 200.000s
            3s  assign d -> b9 (lease 4)
            3s  d: of those that finish it about as soon it had the least to do
                b9 free, 0 bytes missing, ends at 99.153s
                b1 free, 0 bytes missing, ends at 103.000s
                b2 free, 0 bytes missing, ends at 103.000s
        "#]],
    );
}

#[test]
fn a_free_slot_is_taken_if_a_busy_one_is_hardly_better() {
    check(
        "
        0s  start fast
        0s  request a takes=100s
        0s  start slow speed=0.96
        90s request b takes=400s
        90s where b
        ",
        expect![[r#"
            0s  assign a -> fast (lease 1)
            90s assign b -> slow (lease 2)
            90s b: it was free, and a busy one would hardly finish it sooner
                slow free, 0 bytes missing, ends at 506.666s
                fast free at 100.000s, 0 bytes missing, ends at 500.000s
        "#]],
    );
}

#[test]
fn of_many_who_wait_for_better_slots_the_next_takes_what_there_is() {
    let mut script = String::from("0s start fast speed=10\n0s request first takes=20s\n");
    script += "0s start slow speed=0.1\n";
    for build in 0..33 {
        script += &format!("0s request b{build:02} takes=10s\n");
    }
    script += "0s where b32\n";
    check(
        &script,
        expect![[r#"
        0s  assign first -> fast (lease 1)
        0s  assign b32 -> slow (lease 2)
        0s  b32: a better one would be free soon, but enough builds wait for better ones
            slow free, 0 bytes missing, ends at 100.000s
            fast free at 34.000s, 0 bytes missing, ends at 35.000s
    "#]],
    );
}

#[test]
fn an_end_is_expected_by_the_longest_row_or_by_all_the_work() {
    check(
        "
        0s  open r1 owner=me
        0s  plan a for=r1 takes=100s
        0s  plan b for=r1 takes=100s after=a
        0s  plan c for=r1 takes=50s
        0s  outlook r1
        0s  start b1 slots=2
        0s  start b2 slots=2 speed=2
        0s  drain b2
        0s  outlook r1
        0s  request a for=r1 takes=100s
        0s  request c for=r1 takes=50s
        40s outlook r1
        50s resume b2
        50s outlook r1
        60s finished 2
        60s outlook r1
        200s outlook r1
        200s outlook r2
        ",
        expect![[r#"
            0s  3 planned, 0 waiting, 0 running, 250 s of work, row of 200 s, nobody knows how much left
            0s  3 planned, 0 waiting, 0 running, 250 s of work, row of 200 s, 200 s left
            0s  assign a -> b1 (lease 1)
            0s  assign c -> b1 (lease 2)
            40s 1 planned, 0 waiting, 2 running, 250 s of work, row of 200 s, 160 s left
            50s 1 planned, 0 waiting, 2 running, 250 s of work, row of 200 s, 100 s left
            60s 1 planned, 0 waiting, 1 running, 200 s of work, row of 200 s, 90 s left
            200s1 planned, 0 waiting, 1 running, 200 s of work, row of 200 s, 100 s left
            200sthere is no such request
        "#]],
    );
}

#[test]
fn the_end_depends_on_who_else_asks_and_on_limits() {
    check(
        "
        0s  start b1 slots=4
        0s  open r1 owner=me
        0s  plan a for=r1 takes=400s
        0s  plan b for=r1 takes=400s
        0s  plan c for=r1 takes=400s
        0s  plan d for=r1 takes=400s
        0s  outlook r1
        0s  open r2 owner=you
        0s  plan x for=r2 takes=400s
        0s  outlook r1
        0s  plan y for=r2 takes=400s
        0s  plan z for=r2 takes=400s
        0s  outlook r1
        0s  open r1 owner=me max=1
        0s  outlook r1
        0s  open r1 owner=me max=0
        0s  outlook r1
        ",
        expect![[r#"
            0s  4 planned, 0 waiting, 0 running, 1600 s of work, row of 400 s, 400 s left
            0s  4 planned, 0 waiting, 0 running, 1600 s of work, row of 400 s, 533 s left
            0s  4 planned, 0 waiting, 0 running, 1600 s of work, row of 400 s, 800 s left
            0s  4 planned, 0 waiting, 0 running, 1600 s of work, row of 400 s, 1600 s left
            0s  4 planned, 0 waiting, 0 running, 1600 s of work, row of 400 s, nobody knows how much left
        "#]],
    );
}
