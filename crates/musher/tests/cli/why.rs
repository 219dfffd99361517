//! `musher why` where nothing can be asked.

use expect_test::expect;

use super::support::Place;

#[test]
fn without_a_coordinator_nobody_knows() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check(
        "--run DIR/run --state DIR/state why DIR/result",
        &expect![[r#"
            exit 3
            --- messages
            error: the coordinator is not running: nobody listens on `DIR/run/control.sock`
            cause: No such file or directory (os error 2)
            help:  start it with `musher daemon`, or name its directory of sockets by `--run`
        "#]],
    );
}

#[test]
fn it_has_help() {
    let place = Place::with(&[]);
    place.check("why --help", &expect![[r#"
        exit 0
        Tell what becomes of a derivation, and why

        Of one that waits: for what, and why each machine does not make it now. Of one that runs or ended
        lately: where, and why there. Of one that nobody asks for: whether it is there, who could build it,
        and what is known of the last time. The exit code is 1 if it failed, or if nobody asks for it and it
        is not there.

        Usage: musher why [OPTIONS] <PATH>

        Arguments:
          <PATH>
                  The derivation, an output of it, something inside of one, or a link to it

        Options:
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
