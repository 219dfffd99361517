//! Scripts of events, and what is shown.

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;

use super::{Builds, Line};

fn drv(name: &str) -> String {
    format!("/store/{}-{name}.drv", "1".repeat(32))
}

/// One event a line, after its second:
///
/// - `plan NAME…`, `NAME waits REASON`, `NAME starts MACHINE`,
///   `NAME says TEXT` (`\n` ends a line), `NAME phase PHASE`
/// - `NAME built MACHINE MS`, `NAME bare MACHINE MS` (without a sandbox),
///   `NAME fails MACHINE MS ERROR`,
///   `NAME given-up CULPRIT`, `import BYTES`, `imported BYTES`
/// - `show ROWS COLUMNS`, `look` (what is overdue)
#[track_caller]
fn check(script: &str, expected: &Expect) -> Builds {
    let mut builds = Builds::default();
    let mut seen = String::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (second, rest) = line.split_once(' ').expect("a time");
        let now = Duration::from_secs(second.parse().expect("seconds"));
        let words: Vec<_> = rest.split(' ').collect();
        if let ["show", rows, columns] = words[..] {
            let number = |word: &str| word.parse().expect("a number");
            for line in builds.lines(now, number(rows), number(columns)) {
                writeln!(seen, "  | {line}").expect("a string");
            }
            continue;
        }
        let lines = match words[..] {
            ["look"] => builds.overdue(now).into_iter().map(Line::Step).collect(),
            _ => builds.hear(now, &event(&words, rest)),
        };
        for line in lines {
            match line {
                Line::Step(line) => writeln!(seen, "{second} {line}").expect("a string"),
                Line::Log(line) => writeln!(seen, "  {line}").expect("a string"),
            }
        }
    }
    expected.assert_eq(&seen);
    builds
}

fn event(words: &[&str], line: &str) -> Event {
    let number = |word: &str| word.parse().expect("a number");
    let after = |count: usize| line.splitn(count + 1, ' ').nth(count).unwrap_or_default();
    let news = match *words {
        ["plan", ref names @ ..] => {
            return Event::Planned(api::Planned {
                drv_paths: names.iter().map(|name| drv(name)).collect(),
                valid: 1,
            });
        }
        ["left", seconds, ref guess @ ..] => {
            return Event::Outlook(api::Outlook {
                left_ms: Some(number(seconds) * 1000),
                guess: !guess.is_empty(),
                ..api::Outlook::default()
            });
        }
        ["import", bytes] => {
            return Event::Importing(api::Importing {
                paths: vec!["/store/x".to_owned()],
                nar_bytes: number(bytes),
            });
        }
        ["imported", bytes] => {
            return Event::Imported(api::Imported {
                paths: vec!["/store/x".to_owned()],
                nar_bytes: number(bytes),
                duration_ms: 1,
            });
        }
        [_, "waits", ..] => News::Waiting(api::Waiting {
            reason: after(2).to_owned(),
            details: None,
        }),
        [_, "starts", machine] => News::Started(api::Started {
            machine: machine.to_owned(),
            attempt: 1,
        }),
        [_, "says", ..] => News::Log(api::Log {
            bytes: after(2).replace("\\n", "\n").replace("\\e", "\x1b").into(),
            ..api::Log::default()
        }),
        [_, "phase", phase] => {
            let line = format!("@nix {{\"action\":\"setPhase\",\"phase\":\"{phase}\"}}\n");
            News::Log(api::Log {
                bytes: line.into(),
                ..api::Log::default()
            })
        }
        [_, "built", machine, millis] => News::Ended(api::BuildEnd {
            machine: machine.to_owned(),
            duration_ms: number(millis),
            ..api::BuildEnd::default()
        }),
        [_, "bare", machine, millis] => News::Ended(api::BuildEnd {
            machine: machine.to_owned(),
            duration_ms: number(millis),
            usage: Some(api::Usage::default()),
            ..api::BuildEnd::default()
        }),
        [_, "fails", machine, millis, ..] => News::Ended(api::BuildEnd {
            status: 3,
            machine: machine.to_owned(),
            duration_ms: number(millis),
            error: after(4).into(),
            ..api::BuildEnd::default()
        }),
        [_, "given-up", culprit] => News::Ended(api::BuildEnd {
            status: 10,
            culprit: drv(culprit),
            ..api::BuildEnd::default()
        }),
        _ => panic!("no such event: {line}"),
    };
    Event::Build(api::BuildNews {
        drv_path: drv(words[0]),
        news: Some(news),
    })
}

#[test]
fn each_running_build_has_a_line() {
    check(
        "
        0 show 10 60
        0 plan app lib
        0 lib waits b1 has no free slot
        0 show 10 60
        1 lib starts b1
        1 lib phase unpackPhase
        2 lib says tar: one\\ntar: two\\n
        3 other starts builder-2
        65 other says \\e[31mred\\e[0m  \\n\\n
        70 show 10 60
        71 lib built b1 70123
        72 show 10 60
        ",
        &expect![[r#"
              | looking what is to be built; 0 built
            0 2 derivations to build, 1 valid
              | 0 of 2 built; b1 has no free slot
            1 building lib on b1
              lib> tar: one
              lib> tar: two
            3 building other on builder-2
              other> red
              other> 
              | lib    b1           1m09s  [unpackPhase] tar: two
              | other  builder-2    1m07s  red
              | 0 of 2 built, 2 running
            71 built lib on b1 in 1 min 10 s
              | other  builder-2    1m09s  red
              | 1 of 2 built, 1 running
        "#]],
    );
}

#[test]
fn lines_fit_into_their_room() {
    check(
        "
        0 plan a b c
        0 a starts b1
        0 b starts b1
        0 c starts b1
        0 a says a very long line that goes on and on\\n
        1 show 3 30
        1 show 1 10
        ",
        &expect![[r#"
            0 3 derivations to build, 1 valid
            0 building a on b1
            0 building b on b1
            0 building c on b1
              a> a very long line that goes on and on
              | a  b1       1s  a very long l…
              | and 2 more
              | 0 of 3 built, 3 running
              | and 3 more
              | 0 of 3 bu…
        "#]],
    );
}

#[test]
fn outputs_come_home() {
    let builds = check(
        "
        0 plan app
        0 app starts b1
        1 app built b1 1000
        1 import 2048
        1 show 9 60
        2 imported 2048
        2 show 9 60
        ",
        &expect![[r#"
            0 1 derivation to build, 1 valid
            0 building app on b1
            1 built app on b1 in 1.00 s
            1 importing 1 path, 2.00 KiB
              | 1 of 1 built; importing 2.00 KiB
              | 1 of 1 built
        "#]],
    );
    assert_eq!(builds.imported().nar_bytes, 2048);
    assert_eq!(builds.by_machine()["b1"], ["app"]);
}

#[test]
fn what_was_built_without_a_sandbox_is_said() {
    check(
        "
        0 plan app
        0 app starts b1
        1 app bare b1 1000
        ",
        &expect![[r#"
            0 1 derivation to build, 1 valid
            0 building app on b1
            1 built app on b1 in 1.00 s, without a sandbox
        "#]],
    );
}

#[test]
fn failures_keep_their_last_lines() {
    let mut script = String::from("0 plan app lib\n0 lib starts b1\n");
    for line in 0..30 {
        writeln!(script, "1 lib says line {line}\\n").expect("a string");
    }
    script += "
        2 lib fails b1 2000 builder failed with exit code 2
        2 app given-up lib
        2 show 5 60
    ";
    let mut builds = Builds::default();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (_, rest) = line.split_once(' ').expect("a time");
        let words: Vec<_> = rest.split(' ').collect();
        if words[0] != "show" {
            builds.hear(Duration::ZERO, &event(&words, rest));
        }
    }
    let failures = builds.failures();
    let [failed] = &failures[..] else {
        panic!("one failed: {failures:?}");
    };
    assert_eq!(failed.drv_path, drv("lib"));
    assert_eq!(failed.error, "builder failed with exit code 2");
    assert_eq!((failed.log.len(), failed.earlier), (25, 5));
    assert_eq!(failed.log.last(), Some(&"line 29"));
    assert_eq!(builds.given_up(), 1);
}

#[test]
fn a_line_may_come_in_pieces() {
    check(
        "
        0 a starts b1
        0 a says half a
        0 a says  line\\nand
        1 show 3 60
        ",
        &expect![[r#"
            0 building a on b1
              a> half a line
              | a  b1       1s  half a line
              | looking what is to be built; 0 built, 1 running
        "#]],
    );
}

#[test]
fn nobody_writes_beyond_their_line() {
    check(
        "
        0 b waits \u{1b}[2Jnobody\u{202e} at home
        0 show 3 60
        0 a starts b1
        0 a phase \\u001b[31mevil\\nphase
        0 a says 日本語 \\e]0;title\\e\\ and on and on and on\\n
        1 show 3 40
        ",
        &expect![[r#"
              | looking what is to be built; 0 built; nobody at home
            0 building a on b1
              a> 日本語  and on and on and on
              | a  b1       1s  [evil phase] 日本語  an…
              | looking what is to be built; 0 built, 1…
        "#]],
    );
}

#[test]
fn how_many_there_are_is_said_before_the_first_begins() {
    check(
        "
        0 lib starts b1
        0 tool starts b2
        0 plan app lib tool
        1 app starts b1
        ",
        &expect![[r#"
            0 3 derivations to build, 1 valid
            0 building lib on b1
            0 building tool on b2
            1 building app on b1
        "#]],
    );
}

#[test]
fn what_everything_waits_for_is_said_once_for_each_reason() {
    check(
        "
        0 plan app lib
        0 lib waits waiting for a machine: b1 is away: it hung up
        1 look
        6 look
        7 look
        8 lib waits waiting for a machine: b1 is away: connection refused
        9 look
        10 lib waits waiting for a machine: b1 is away: it hung up
        11 look
        17 look
        18 lib waits waiting for a machine: b1 is away: connection refused
        19 look
        24 look
        30 look
        ",
        &expect![[r#"
            0 2 derivations to build, 1 valid
            6 lib: waiting for a machine: b1 is away: it hung up
            24 lib: waiting for a machine: b1 is away: connection refused
        "#]],
    );
}

#[test]
fn who_waits_beside_something_that_goes_on_is_not_worth_a_line() {
    check(
        "
        0 plan app lib
        0 lib starts b1
        0 app waits waiting for a machine: b1 has its one slot taken
        1 look
        60 look
        61 lib built b1 61000
        61 look
        65 app waits waiting for a machine: b1 is away: it hung up
        66 look
        70 look
        71 look
        72 app starts b1
        73 look
        74 app waits waiting for a machine: b1 is away: it hung up
        75 look
        80 look
        ",
        &expect![[r#"
            0 2 derivations to build, 1 valid
            0 building lib on b1
            61 built lib on b1 in 1 min 1 s
            71 app: waiting for a machine: b1 is away: it hung up
            72 building app on b1
            80 app: waiting for a machine: b1 is away: it hung up
        "#]],
    );
}

#[test]
fn what_is_left_counts_down_until_it_is_not_worth_a_word() {
    check(
        "
        0 plan app lib
        0 lib starts b1
        1 left 200
        1 show 10 60
        100 show 10 60
        195 show 10 60
        250 show 10 60
        260 left 4000 guess
        260 show 10 60
        ",
        &expect![[r#"
            0 2 derivations to build, 1 valid
            0 building lib on b1
              | lib  b1       1s
              | 0 of 2 built, 1 running, about 3 min left
              | lib  b1    1m40s
              | 0 of 2 built, 1 running, about 2 min left
              | lib  b1    3m15s
              | 0 of 2 built, 1 running
              | lib  b1    4m10s
              | 0 of 2 built, 1 running
              | lib  b1    4m20s
              | 0 of 2 built, 1 running, about 1 h left at a guess
        "#]],
    );
}
