//! What is built ahead, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use nix_derivation::StorePath;

use super::{Action, End, Event, Graph, Kind, Recipe};
use crate::testing::path;

fn drv(name: &str) -> StorePath {
    path(&format!("{name}.drv"))
}

fn short(drv: &StorePath) -> &str {
    drv.name().trim_end_matches(".drv")
}

/// `NAME < INPUT…; …`; a name with a `*` prefers to be built locally, one with a
/// `!` is never sent. Everything has one output, of its name.
struct World(BTreeMap<StorePath, Recipe>);

impl World {
    fn new(text: &str) -> Self {
        let recipes = text.split(';').map(|line| {
            let (name, inputs) = line.split_once('<').unwrap_or((line, ""));
            let (name, kind) = match name.trim() {
                name if name.ends_with('*') => (name.trim_end_matches('*'), Kind::PreferredLocal),
                name if name.ends_with('!') => (name.trim_end_matches('!'), Kind::Kept),
                name => (name, Kind::Sent),
            };
            let inputs = inputs.split_whitespace();
            let recipe = Recipe {
                outputs: [("out".to_owned(), path(name))].into(),
                inputs: inputs
                    .map(|input| (drv(input), ["out".to_owned()].into()))
                    .collect(),
                kind,
            };
            (drv(name), recipe)
        });
        Self(recipes.collect())
    }
}

/// Plays lines of commands, each followed by what is ordered because of it.
///
/// - `named NAME…`: everything is read, looked for and doubted at once
/// - `valid NAME…`, `elsewhere NAME…`: what the answers then are
/// - `asked`, `built`, `home`, `failed`, `left` with NAMEs
/// - `starved NAME of OUTPUT…`
/// - `halt`
struct Player {
    world: World,
    valid: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
    graph: Graph,
    told: String,
}

impl Player {
    fn play(&mut self, line: &str) {
        self.told.push_str(line);
        self.told.push('\n');
        let words: Vec<_> = line.split_whitespace().collect();
        let [command, names @ ..] = words.as_slice() else {
            return;
        };
        let owned = || names.iter().map(|name| (*name).to_owned());
        match *command {
            "valid" => self.valid.extend(owned()),
            "elsewhere" => self.elsewhere.extend(owned()),
            "halt" => self.graph.halt(),
            "starved" => {
                let lost = names[2..].iter().map(|name| path(name)).collect();
                self.ended(names[0], End::Starved(lost));
            }
            "failed" => self.ended(names[0], End::Failed),
            "left" => self.ended(names[0], End::Unwanted),
            _ => {
                for name in names {
                    let drv = drv(name);
                    self.handle(match *command {
                        "named" => Event::Named { drv },
                        "asked" => Event::Asked { drv },
                        "built" => Event::Built { drv },
                        "home" => Event::CameHome { drv },
                        other => panic!("no command `{other}`"),
                    });
                }
            }
        }
    }

    fn ended(&mut self, name: &str, end: End) {
        let drv = drv(name);
        self.handle(Event::Ended { drv, end });
    }

    fn handle(&mut self, event: Event) {
        let mut actions: std::collections::VecDeque<_> = self.graph.handle(event).into();
        while let Some(action) = actions.pop_front() {
            let fact = match action {
                Action::Read { drv } => {
                    let recipe = self.world.0[&drv].clone();
                    Event::Read { drv, recipe }
                }
                Action::Look { drv, .. } => {
                    let is_valid = self.valid.contains(short(&drv));
                    let valid = is_valid.then(|| "out".to_owned()).into_iter().collect();
                    Event::Looked { drv, valid }
                }
                Action::Doubt { drv, .. } => {
                    self.told.push_str(&format!("    doubt {}\n", short(&drv)));
                    let is_elsewhere = self.elsewhere.contains(short(&drv));
                    Event::Doubted { drv, is_elsewhere }
                }
                Action::Build { drv } => {
                    let reads = self.graph.reads(&drv);
                    let reads: Vec<_> = reads.iter().map(StorePath::name).collect();
                    let line = format!("    build {} from {}\n", short(&drv), reads.join(" "));
                    self.told.push_str(&line);
                    continue;
                }
            };
            actions.extend(self.graph.handle(fact));
        }
    }
}

#[track_caller]
fn check(world: &str, script: &str, expected: &Expect) {
    let mut player = Player {
        world: World::new(world),
        valid: BTreeSet::new(),
        elsewhere: BTreeSet::new(),
        graph: Graph::default(),
        told: String::new(),
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        player.play(line);
    }
    expected.assert_eq(&player.told);
}

#[test]
fn a_chain_is_built_link_by_link() {
    check(
        "a; b < a; c < b",
        "
        named a b c
        asked a
        built a
        home a
        built b
        asked b
        built c
        ",
        &expect![[r#"
            named a b c
            asked a
                doubt b
            built a
                build b from a
                doubt c
            home a
            built b
                build c from b
            asked b
            built c
        "#]],
    );
}

#[test]
fn what_the_client_has_asked_for_before_it_was_read_counts_too() {
    check(
        "a; b < a; c < b",
        "
        asked a
        built a
        named c b a
        ",
        &expect![[r#"
            asked a
            built a
            named c b a
                doubt b
                build b from a
                doubt c
        "#]],
    );
}

#[test]
fn what_can_be_had_otherwise_is_not_built() {
    check(
        "a; b < a; c < b; d < a; e < d",
        "
        elsewhere b
        valid d
        named a b c d e
        asked a
        built a
        ",
        &expect![[r#"
            elsewhere b
            valid d
            named a b c d e
            asked a
                doubt b
            built a
        "#]],
    );
}

#[test]
fn nothing_is_built_that_follows_from_nothing_the_client_asked_for() {
    // All of it is ready, and some of it the client may substitute.
    check(
        "src; lib < src; app < lib; other",
        "
        valid src
        named src lib app other
        asked other
        built other
        ",
        &expect![[r#"
            valid src
            named src lib app other
            asked other
            built other
        "#]],
    );
}

#[test]
fn all_inputs_have_to_be_there() {
    check(
        "a; b; c; app < a b c",
        "
        valid c
        named a b c app
        asked a
        built a
        asked b
        built b
        ",
        &expect![[r#"
            valid c
            named a b c app
            asked a
                doubt app
            built a
            asked b
            built b
                build app from a b c
        "#]],
    );
}

#[test]
fn what_a_client_asks_for_has_its_inputs_at_home() {
    // It had `b` from elsewhere, or built it itself.
    check(
        "a; b; app < a b; doc < b a",
        "
        named a b app doc
        asked a
        built a
        asked doc
        ",
        &expect![[r#"
            named a b app doc
            asked a
                doubt doc
                doubt app
            built a
            asked doc
                build app from a b
        "#]],
    );
}

#[test]
fn what_is_built_locally_is_left_to_the_client() {
    check(
        "a; b* < a; c! < a; d < b; e < c",
        "
        named a b c d e
        asked a
        built a
        ",
        &expect![[r#"
            named a b c d e
            asked a
            built a
        "#]],
    );
}

#[test]
fn a_client_that_sends_what_prefers_to_be_local_builds_nothing_itself() {
    check(
        "a; b* < a; c* < a",
        "
        named a b c
        asked a
        built a
        asked b
        ",
        &expect![[r#"
            named a b c
            asked a
            built a
            asked b
                doubt c
                build c from a
        "#]],
    );
}

#[test]
fn a_failure_ahead_ends_its_branch_and_no_other() {
    check(
        "a; b < a; c < b; d < a; e < d",
        "
        named a b c d e
        asked a
        built a
        failed b
        built d
        ",
        &expect![[r#"
            named a b c d e
            asked a
                doubt d
                doubt b
            built a
                build d from a
                doubt e
                build b from a
                doubt c
            failed b
            built d
                build e from d
        "#]],
    );
}

#[test]
fn after_a_failure_nothing_is_begun_until_the_client_goes_on() {
    check(
        "a; b; c < a; d < c; e",
        "
        named a b c d e
        asked a
        asked b
        built a
        failed b
        built c
        asked e
        ",
        &expect![[r#"
            named a b c d e
            asked a
                doubt c
            asked b
            built a
                build c from a
                doubt d
            failed b
            built c
            asked e
                build d from c
        "#]],
    );
}

#[test]
fn what_a_client_gave_up_is_not_built_on() {
    check(
        "a; b < a",
        "
        named a b
        asked a
        left a
        ",
        &expect![[r#"
            named a b
            asked a
                doubt b
            left a
        "#]],
    );
}

#[test]
fn what_was_lost_is_not_built_on() {
    check(
        "a; b < a; c < a; d < b",
        "
        named a b c d
        asked a
        built a
        starved b of a
        built c
        asked d
        ",
        &expect![[r#"
            named a b c d
            asked a
                doubt c
                doubt b
            built a
                build c from a
                build b from a
                doubt d
            starved b of a
            built c
            asked d
        "#]],
    );
}

#[test]
fn nothing_is_built_once_it_is_known_to_be_in_vain() {
    check(
        "a; b < a",
        "
        named a b
        asked a
        halt
        built a
        ",
        &expect![[r#"
            named a b
            asked a
                doubt b
            halt
            built a
        "#]],
    );
}
