//! Scripts in which outputs are lost.

use expect_test::expect;

use super::check;

#[test]
fn lost_outputs_are_built_again() {
    check(
        "app < lib; lib < tool; tool",
        "
        want app
        built tool
        built lib
        starved app of lib
        built lib
        built app
        stranded app of app
        built app
        home app
        ",
        &expect![[r#"
            want app
                read app
                read lib
                read tool
                plan: app lib tool; 0 valid
                build tool
            built tool
                build lib
            built lib
                build app
            starved app of lib
                build lib
            built lib
                build app
            built app
                bring home app
            stranded app of app
                build app
            built app
                bring home app
            home app
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn what_else_was_lost_is_found_out_when_it_is_wanted() {
    check(
        "app < lib; lib < tool; tool",
        "
        want app
        built tool
        built lib
        starved app of lib
        starved lib of tool
        built tool
        built lib
        ",
        &expect![[r#"
            want app
                read app
                read lib
                read tool
                plan: app lib tool; 0 valid
                build tool
            built tool
                build lib
            built lib
                build app
            starved app of lib
                build lib
            starved lib of tool
                build tool
            built tool
                build lib
            built lib
                build app
        "#]],
    );
}

#[test]
fn a_root_waits_for_what_it_refers_to() {
    check(
        "app < lib; lib",
        "
        want app
        built lib
        built app
        stranded app of lib
        built lib
        home app
        ",
        &expect![[r#"
            want app
                read app
                read lib
                plan: app lib; 0 valid
                build lib
            built lib
                build app
            built app
                bring home app
            stranded app of lib
                build lib
            built lib
                bring home app
            home app
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn losses_have_an_end() {
    check(
        "app < lib; lib",
        "
        want app
        built lib
        starved app of lib
        built lib
        starved app of lib
        built lib
        starved app of lib
        built lib
        starved app of lib
        ",
        &expect![[r#"
            want app
                read app
                read lib
                plan: app lib; 0 valid
                build lib
            built lib
                build app
            starved app of lib
                build lib
            built lib
                build app
            starved app of lib
                build lib
            built lib
                build app
            starved app of lib
                build lib
            built lib
                build app
            starved app of lib
                lib was lost too often
                give up app because of lib
            over: app failed because of lib
        "#]],
    );
}

#[test]
fn a_loss_that_was_made_good_costs_only_another_try() {
    check(
        "app < lib; lib",
        "
        want app
        built lib
        starved app of
        ",
        &expect![[r#"
            want app
                read app
                read lib
                plan: app lib; 0 valid
                build lib
            built lib
                build app
            starved app of
                build app
        "#]],
    );
}

#[test]
fn what_two_miss_is_made_again_once() {
    check(
        "app < a b; a < lib; b < lib; lib < tool; tool",
        "
        want app
        built tool
        built lib
        starved a of lib
        starved b of lib
        built lib
        starved b of lib
        starved lib of tool
        starved a of lib
        built tool
        built lib
        ",
        &expect![[r#"
            want app
                read app
                read a
                read b
                read lib
                read tool
                plan: a app b lib tool; 0 valid
                build tool
            built tool
                build lib
            built lib
                build a
                build b
            starved a of lib
                build lib
            starved b of lib
            built lib
                build a
                build b
            starved b of lib
                build lib
            starved lib of tool
                build tool
            starved a of lib
            built tool
                build lib
            built lib
                build a
                build b
        "#]],
    );
}

#[test]
fn what_two_roots_miss_is_made_again_once() {
    check(
        "one < lib; two < lib; lib",
        "
        want one two
        built lib
        built one
        built two
        stranded one of lib
        stranded two of lib
        built lib
        home one
        home two
        ",
        &expect![[r#"
            want one two
                read one
                read two
                read lib
                plan: lib one two; 0 valid
                build lib
            built lib
                build one
                build two
            built one
                bring home one
            built two
                bring home two
            stranded one of lib
                build lib
            stranded two of lib
            built lib
                bring home one
                bring home two
            home one
            home two
            over: one home, 1 outputs
            over: two home, 1 outputs
        "#]],
    );
}

#[test]
fn what_is_lost_too_often_fails_all_who_miss_it() {
    check(
        "one < lib; two < lib; lib; other",
        "
        keep going
        want one two other
        built lib
        built one
        built two
        stranded one of lib
        built lib
        stranded one of lib
        built lib
        stranded one of lib
        built lib
        stranded one of lib
        stranded two of lib
        built other
        home other
        ",
        &expect![[r#"
            keep going
            want one two other
                read one
                read other
                read two
                read lib
                build other
                plan: lib one other two; 0 valid
                build lib
            built lib
                build one
                build two
            built one
                bring home one
            built two
                bring home two
            stranded one of lib
                build lib
            built lib
                bring home one
            stranded one of lib
                build lib
            built lib
                bring home one
            stranded one of lib
                build lib
            built lib
                bring home one
            stranded one of lib
                lib was lost too often
                give up one because of lib
            stranded two of lib
                give up two because of lib
            built other
                bring home other
            home other
            over: one failed because of lib
            over: other home, 1 outputs
            over: two failed because of lib
        "#]],
    );
}

#[test]
fn who_carries_what_nobody_makes_any_more_is_made_again() {
    check(
        "app < mid; mid < lib; lib",
        "
        want app
        built lib
        built mid
        starved app of old-lib
        built mid
        built app
        stranded app of older-lib
        starved app of older-lib
        ",
        &expect![[r#"
            want app
                read app
                read mid
                read lib
                plan: app lib mid; 0 valid
                build lib
            built lib
                build mid
            built mid
                build app
            starved app of old-lib
                build mid
            built mid
                build app
            built app
                bring home app
            stranded app of older-lib
                build app
            starved app of older-lib
                build mid
        "#]],
    );
}
