//! `musher history` where nothing was built.

use expect_test::expect;

use super::support::Place;

#[test]
fn without_a_history_it_says_where_one_would_be() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check(
        "--run DIR/run --state DIR/state history",
        &expect![[r#"
        exit 2
        --- messages
        error: there is no history: no coordinator has kept one in `DIR/state/history.db`
        help:  name the coordinator's directory of what is kept by `--state`
    "#]],
    );
    place.check(
        "--run DIR/run --state DIR/state history export --last DIR/graph.json",
        &expect![[r#"
            exit 2
            --- messages
            error: there is no history: no coordinator has kept one in `DIR/state/history.db`
            help:  name the coordinator's directory of what is kept by `--state`
        "#]],
    );
    place.check(
        "history export --last --request 3 DIR/graph.json",
        &expect![[r#"
            exit 2
            --- messages
            error: the argument '--last' cannot be used with '--request <ID>'

            Usage: musher history export --last <FILE>

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn it_has_help() {
    let place = Place::with(&[]);
    place.check("history --help", &expect![[r#"
        exit 0
        Show what builds took, what they are expected to take, and how fast machines are

        Of a package the newest attempts are shown, and what another build of it is expected to cost;
        without a name the builds that took longest, and the requests whose graphs can be exported. Expected
        times are those of a machine whose speed factor is 1. The history is the running coordinator's, or
        what the last one kept.

        Usage: musher history [OPTIONS] [NAME]
               musher history <COMMAND>

        Commands:
          export  Write the graph of a request, with how long each of its builds took, to a file
          help    Print this message or the help of the given subcommand(s)

        Arguments:
          [NAME]
                  A package (`hello`), a version of it (`hello-2.12.1`), or a derivation's path

        Options:
          -n, --most <NUMBER>
                  How many attempts to show, 20 if nothing else is said

          -h, --help
                  Print help (see a summary with '-h')

        Global options:
              --config <FILE>
                  The configuration; machines in Nix's format are read from the file `machines` beside it

              --run <DIR>
                  The directory of sockets

              --state <DIR>
                  The directory of what is kept

              --json
                  Print data as JSON

          -v, --verbose
                  Print what is going on inside; MUSHER_LOG chooses more finely
    "#]]);
    place.check("history export --help", &expect![[r#"
        exit 0
        Write the graph of a request, with how long each of its builds took, to a file

        The file is JSON: `root`, and `nodes` of which each has `name`, `seconds` (at speed factor 1),
        `output_bytes`, `fixed_output` and `deps`, the places in the list of what it needs, which come
        before it.

        Usage: musher history export [OPTIONS] <FILE>

        Arguments:
          <FILE>
                  The file, or `-` for standard output

        Options:
              --request <ID>
                  Which request, by its number in `musher history`

              --last
                  The request that ended last, which is also meant where none is named

          -h, --help
                  Print help (see a summary with '-h')

        Global options:
              --config <FILE>
                  The configuration; machines in Nix's format are read from the file `machines` beside it

              --run <DIR>
                  The directory of sockets

              --state <DIR>
                  The directory of what is kept

              --json
                  Print data as JSON

          -v, --verbose
                  Print what is going on inside; MUSHER_LOG chooses more finely
    "#]]);
}
