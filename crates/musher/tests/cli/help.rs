//! What `--help` and mistakes in the command line print.

mod stores_and_machines;

use std::path::Path;

use expect_test::{Expect, expect};

use super::support::run;

#[track_caller]
fn check(words: &str, expected: &Expect) {
    let args: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    expected.assert_eq(&run(&args, Path::new("/")));
}

#[test]
fn help_lists_commands_options_and_exit_codes() {
    check(
        "--help",
        &expect![[r#"
            exit 0
            Makes any set of machines behave as one Nix build machine.

            Data goes to standard output, everything else to standard error.

            Usage: musher [OPTIONS] <COMMAND>

            Commands:
              build    Build derivations on the machines, and bring their outputs home
              why      Tell what becomes of a derivation, and why
              log      Print the log of a derivation's newest build, or follow it while it runs
              history  Show what builds took, what they are expected to take, and how fast machines are
              daemon   Run the coordinator: it decides where builds run, and keeps the machines connected
              machine  Show and change the machines that build
              serve    Serve one Nix client on standard input and output
              worker   Build what a coordinator orders, in a store of this user's own
              setup    Make stock Nix on this host build through musher
              doctor   Find out what is wrong, or why a derivation would not be built
              status   Show the machines, and the builds that run, wait and ended lately
              reload   Have the coordinator read its configuration again, and show what changed
              replay   Play graphs of builds on machines that need not exist, and show how long it takes
              store    Ask Nix stores, near and far, copy between them, and look after our own
              help     Print this message or the help of the given subcommand(s)

            Options:
              -h, --help
                      Print help (see a summary with '-h')

              -V, --version
                      Print version

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

            Exit codes:
              0  done
              1  the work itself failed: a build, a machine's test
              2  a mistake in the command line, a file or a request
              3  the surroundings failed: disk, network, a daemon that is not there
              4  a bug in musher
              130, 143  stopped by Ctrl-C, by SIGTERM
        "#]],
    );
}

#[test]
fn every_command_has_help() {
    check(
        "machine --help",
        &expect![[r#"
            exit 0
            Show and change the machines that build

            Usage: musher machine [OPTIONS] <COMMAND>

            Commands:
              add     Make any Linux host with sshd a machine that builds; nothing need be installed there
              remove  Take a machine out of musher.toml, and everything of musher's off it
              list    List the machines of the configuration, and how they are if the coordinator runs
              show    Show everything that is configured for one machine
              test    Try machines out: connect, copy a path there and back, and build a little
              drain   Give a machine no new builds; those it runs go on
              resume  Give a machine builds again
              import  Take over machines from a file in Nix's own format
              help    Print this message or the help of the given subcommand(s)

            Options:
              -h, --help  Print help

            Global options:
                  --config <FILE>  The configuration; machines in Nix's format are read from the file `machines`
                                   beside it
                  --run <DIR>      The directory of sockets
                  --state <DIR>    The directory of what is kept
                  --json           Print data as JSON
              -v, --verbose        Print what is going on inside; MUSHER_LOG chooses more finely
        "#]],
    );
    check(
        "machine import --help",
        &expect![[r#"
        exit 0
        Take over machines from a file in Nix's own format

        Prints them as they would stand in musher.toml. The file `machines` beside musher.toml needs no
        import: it is read as it is.

        Usage: musher machine import [OPTIONS] <FILE>

        Arguments:
          <FILE>
                  The file, like /etc/nix/machines

        Options:
              --write
                  Add them to musher.toml, after showing the difference

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
    "#]],
    );
    check(
        "setup --help",
        &expect![[r#"
        exit 0
        Make stock Nix on this host build through musher

        Prints the builders, one line a capability class, and the lines for nix.conf that make Nix use them.

        Usage: musher setup [OPTIONS]

        Options:
              --write
                  Put them there, after showing the difference

              --store
                  Be the store of stock Nix instead of its builder: the line for a user's own nix.conf, or
                  for the environment

              --nix-conf <FILE>
                  Nix's configuration [default: nix.conf in Nix's usual directory]

              --builders-file <FILE>
                  The file of builders that nix.conf includes [default: musher-builders beside nix.conf]

              --program <PATH>
                  The program that Nix starts for a session [default: this one]

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
    "#]],
    );
}

#[test]
fn a_wrong_command_line_is_the_users_mistake() {
    check(
        "machine lits",
        &expect![[r#"
        exit 2
        --- messages
        error: unrecognized subcommand 'lits'

          tip: a similar subcommand exists: 'list'

        Usage: musher machine [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
}
