//! Scripts: facts in, orders out.

mod loss;

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use nix_derivation::StorePath;

use super::{Action, End, Event, Graph, Outputs, Recipe};
use crate::testing::path;

/// A world of derivations, written as `NAME[.OUTPUT…] < INPUT[.OUTPUT…] …`; an
/// output that is not named is `out`, and a name with `~` has outputs whose
/// paths nobody knows before they are built.
struct World(BTreeMap<String, Recipe>);

fn drv(name: &str) -> StorePath {
    path(&format!("{name}.drv"))
}

fn output(name: &str, output: &str) -> StorePath {
    match output {
        "out" => path(name),
        other => path(&format!("{name}-{other}")),
    }
}

/// `name.a.b` as the name and its outputs.
fn named(word: &str) -> (String, BTreeSet<String>) {
    let mut parts = word.split('.').map(str::to_owned);
    let name = parts.next().unwrap_or_default();
    let mut outputs: BTreeSet<_> = parts.collect();
    if outputs.is_empty() {
        outputs.insert("out".to_owned());
    }
    (name, outputs)
}

impl World {
    fn new(lines: &str) -> Self {
        let recipes = lines.split(';').map(|line| {
            let (head, inputs) = line.split_once('<').unwrap_or((line, ""));
            let (name, outputs) = named(head.trim());
            let path =
                |name: &str, which: &String| (!name.starts_with('~')).then(|| output(name, which));
            let recipe = Recipe {
                outputs: (outputs.iter())
                    .map(|which| (which.clone(), path(&name, which)))
                    .collect(),
                inputs: (inputs.split_whitespace().map(named))
                    .map(|(name, outputs)| (drv(name.trim_start_matches('~')), outputs))
                    .collect(),
            };
            (name.trim_start_matches('~').to_owned(), recipe)
        });
        Self(recipes.collect())
    }

    fn outputs(&self, name: &str) -> Outputs {
        let outputs = self.0[name].outputs.keys();
        outputs
            .map(|which| (which.clone(), output(name, which)))
            .collect()
    }
}

/// Plays `script`, one step a line, and tells the orders after each:
///
/// - `want NAME[.OUTPUT…]…`, `keep going` first: the request; everything is
///   read and looked for at once, against what is `valid`
/// - `valid NAME…`: comes before
/// - `check`: comes before, too
/// - `built`, `checked`, `failed`, `home` with a NAME
/// - `starved NAME of PATH…`, `stranded NAME of PATH…`
struct Player {
    world: World,
    valid: BTreeSet<StorePath>,
    keep_going: bool,
    check: bool,
    graph: Option<Graph>,
    told: String,
}

impl Player {
    fn step(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let lost = || words[3..].iter().map(|name| path(name)).collect();
        let event = match words[..] {
            ["valid", ref names @ ..] => {
                self.valid.extend(names.iter().map(|name| path(name)));
                return;
            }
            ["keep", "going"] => {
                self.keep_going = true;
                return;
            }
            ["check"] => {
                self.check = true;
                return;
            }
            ["want", ref names @ ..] => {
                let roots = names.iter().map(|word| match word.contains('.') {
                    true => (drv(&named(word).0), named(word).1),
                    false => (drv(word), BTreeSet::new()),
                });
                let (graph, actions) = Graph::new(roots.collect(), self.keep_going, self.check);
                self.graph = Some(graph);
                return self.perform(actions);
            }
            ["built", name] => Event::Built {
                drv: drv(name),
                outputs: self.world.outputs(name),
            },
            ["checked", name] => Event::Checked { drv: drv(name) },
            ["failed", name] => Event::Failed { drv: drv(name) },
            ["home", name] => Event::CameHome { drv: drv(name) },
            ["starved", name, "of", ..] => Event::Starved {
                drv: drv(name),
                lost: lost(),
            },
            ["stranded", name, "of", ..] => Event::Stranded {
                drv: drv(name),
                lost: lost(),
            },
            _ => panic!("no such step: {line}"),
        };
        let graph = self.graph.as_mut().expect("a request comes first");
        let actions = graph.handle(event);
        self.perform(actions);
    }

    /// Reads and looks at once; tells the rest.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut queue = std::collections::VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let event = match action {
                Action::Read { drv } => {
                    let name = drv.name().trim_end_matches(".drv");
                    self.say(&format!("read {name}"));
                    let recipe = self.world.0[name].clone();
                    Event::Read { drv, recipe }
                }
                Action::Look { drv, outputs } => {
                    let known = outputs
                        .into_iter()
                        .filter_map(|(name, path)| Some((name, path?)));
                    let valid = known
                        .filter(|(_, path)| self.valid.contains(path))
                        .collect();
                    Event::Looked { drv, valid }
                }
                other @ (Action::Plan { .. }
                | Action::Build { .. }
                | Action::BringHome { .. }
                | Action::GiveUp { .. }
                | Action::LostTooOften { .. }
                | Action::NothingToCheck { .. }
                | Action::NoOutput { .. }) => {
                    self.say(&words(&other));
                    continue;
                }
            };
            queue.extend(self.graph.as_mut().expect("a graph").handle(event));
        }
    }

    fn say(&mut self, line: &str) {
        self.told.push_str(&format!("    {line}\n"));
    }
}

fn short(path: &StorePath) -> &str {
    path.name().trim_end_matches(".drv")
}

fn words(action: &Action) -> String {
    let names = |outputs: &Outputs| {
        let names: Vec<_> = outputs.values().map(StorePath::name).collect();
        names.join(" ")
    };
    match action {
        Action::Read { drv } => format!("read {}", short(drv)),
        Action::Look { drv, .. } => format!("look {}", short(drv)),
        Action::Plan { builds, valid } => {
            let builds: Vec<_> = builds.iter().map(short).collect();
            format!("plan: {}; {valid} valid", builds.join(" "))
        }
        Action::Build { drv } => format!("build {}", short(drv)),
        Action::BringHome { outputs, .. } => format!("bring home {}", names(outputs)),
        Action::GiveUp { drv, culprit } => {
            format!("give up {} because of {}", short(drv), short(culprit))
        }
        Action::LostTooOften { drv } => format!("{} was lost too often", short(drv)),
        Action::NothingToCheck { drv } => format!("nothing to check {} by", short(drv)),
        Action::NoOutput { drv, output } => format!("{} has no `{output}`", short(drv)),
    }
}

#[track_caller]
fn check(world: &str, script: &str, expected: &Expect) {
    let mut player = Player {
        world: World::new(world),
        valid: BTreeSet::new(),
        keep_going: false,
        check: false,
        graph: None,
        told: String::new(),
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        player.told.push_str(&format!("{line}\n"));
        player.step(line);
    }
    let graph = player.graph.expect("a request");
    if graph.is_over() {
        for (root, end) in graph.ends() {
            let end = match end {
                End::Home(outputs) => format!("home, {} outputs", outputs.len()),
                End::Failed { culprit } => format!("failed because of {}", short(&culprit)),
                End::Undecided => "undecided".to_owned(),
            };
            player
                .told
                .push_str(&format!("over: {} {end}\n", short(&root)));
        }
    }
    expected.assert_eq(&player.told);
}

#[test]
fn what_is_ready_is_built_and_the_root_comes_home() {
    check(
        "app < lib tool; lib < tool; tool",
        "
        want app
        built tool
        built lib
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
            built app
                bring home app
            home app
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn below_what_is_valid_nothing_is_read() {
    check(
        "app < lib; lib < tool; tool",
        "
        valid lib
        want app
        built app
        home app
        ",
        &expect![[r#"
            valid lib
            want app
                read app
                read lib
                plan: app; 1 valid
                build app
            built app
                bring home app
            home app
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn a_valid_root_is_the_end() {
    check(
        "app < lib; lib",
        "
        valid app
        want app
        ",
        &expect![[r#"
            valid app
            want app
                read app
                plan: ; 1 valid
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn what_is_checked_is_built_again_and_stays_where_it_is() {
    check(
        "app < lib; lib < tool; tool",
        "
        valid app lib
        check
        want app
        checked app
        ",
        &expect![[r#"
            valid app lib
            check
            want app
                read app
                read lib
                plan: app; 1 valid
                build app
            checked app
            over: app home, 1 outputs
        "#]],
    );
}

#[test]
fn what_is_not_there_cannot_be_checked() {
    check(
        "app < lib; lib",
        "
        valid lib
        check
        want app
        ",
        &expect![[r#"
            valid lib
            check
            want app
                read app
                plan: ; 0 valid
                nothing to check app by
            over: app failed because of app
        "#]],
    );
}

#[test]
fn an_output_wanted_later_is_looked_for_too() {
    check(
        "app < lib tool; tool < lib.dev; lib.out.dev < cc; cc",
        "
        valid lib
        want app
        built cc
        built lib
        built tool
        ",
        &expect![[r#"
            valid lib
            want app
                read app
                read lib
                read tool
                read cc
                plan: app cc lib tool; 0 valid
                build cc
            built cc
                build lib
            built lib
                build tool
            built tool
                build app
        "#]],
    );
}

#[test]
fn outputs_without_known_paths_are_built() {
    check(
        "app < ~lib; ~lib < tool; tool",
        "
        valid tool lib
        want app
        built lib
        ",
        &expect![[r#"
            valid tool lib
            want app
                read app
                read lib
                read tool
                plan: app lib; 1 valid
                build lib
            built lib
                build app
        "#]],
    );
}

#[test]
fn the_first_failure_is_the_end() {
    check(
        "app < lib other; lib; other < slow; slow",
        "
        want app
        failed lib
        built slow
        ",
        &expect![[r#"
            want app
                read app
                read lib
                read other
                build lib
                read slow
                plan: app lib other slow; 0 valid
                build slow
            failed lib
                give up app because of lib
            built slow
            over: app failed because of lib
        "#]],
    );
}

#[test]
fn dependents_fail_once_and_the_rest_goes_on() {
    check(
        "app < a b; a < bad; b < bad; bad; other < slow; slow",
        "
        keep going
        want app other
        failed bad
        built slow
        built other
        home other
        ",
        &expect![[r#"
            keep going
            want app other
                read app
                read other
                read a
                read b
                read slow
                read bad
                build slow
                plan: a app b bad other slow; 0 valid
                build bad
            failed bad
                give up a because of bad
                give up b because of bad
                give up app because of bad
            built slow
                build other
            built other
                bring home other
            home other
            over: app failed because of bad
            over: other home, 1 outputs
        "#]],
    );
}

#[test]
fn an_output_that_is_not_there_to_be_had_fails_who_wants_it() {
    check(
        "app < lib.doc; lib",
        "
        want app
        ",
        &expect![[r#"
            want app
                read app
                read lib
                plan: ; 0 valid
                lib has no `doc`
                give up app because of lib
            over: app failed because of lib
        "#]],
    );
    check(
        "lib",
        "
        want lib.doc
        ",
        &expect![[r#"
            want lib.doc
                read lib
                plan: ; 0 valid
                lib has no `doc`
            over: lib failed because of lib
        "#]],
    );
}
