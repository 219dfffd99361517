//! What `--help` prints of the commands about stores and machines.

use expect_test::expect;

use super::check;

#[test]
fn commands_about_stores_and_machines_have_help() {
    check(
        "store --help",
        &expect![[r#"
        exit 0
        Ask Nix stores, near and far, copy between them, and look after our own

        Usage: musher store [OPTIONS] <COMMAND>

        Commands:
          ping       Ask a store whether it answers, and who it is
          info       Show what a store's URL means, and what the store says of itself
          path-info  Show what a store knows of paths
          copy       Copy paths, with all they refer to, from one store to another
          add        Add files and directories to a store
          verify     Compare what a store on this disk should hold with what it holds
          gc         Delete paths from a store on this disk that nothing needs
          help       Print this message or the help of the given subcommand(s)

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
        "store ping -h",
        &expect![[r#"
        exit 0
        Ask a store whether it answers, and who it is

        Usage: musher store ping [OPTIONS]

        Options:
              --store <URL>                The store: ssh-ng://HOST, ssh://HOST, unix:///SOCKET, daemon,
                                           auto, or a directory [default: auto]
              --connect-timeout <SECONDS>  How long connecting may take [default: the configuration's
                                           `connect-timeout`]
          -h, --help                       Print help

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
        "store copy --help",
        &expect![[r#"
            exit 0
            Copy paths, with all they refer to, from one store to another

            What is valid in the destination is not sent again. What was copied before an interruption stays
            there.

            Usage: musher store copy [OPTIONS] <--from <URL>|--to <URL>> <PATHS>...

            Arguments:
              <PATHS>...
                      The paths, something inside of them, or links to them

            Options:
                  --from <URL>
                      The store to copy from [default: auto]

                  --to <URL>
                      The store to copy to [default: auto]

                  --substitute
                      Let the destination fetch what it can from its own substituters first

                  --connect-timeout <SECONDS>
                      How long connecting may take [default: the configuration's `connect-timeout`]

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
        "machine test --help",
        &expect![[r#"
            exit 0
            Try machines out: connect, copy a path there and back, and build a little

            Says what was measured: the time to connect, the round trip, versions, trust, the rates of copying,
            and the time of a trivial build. What is copied and built there (some 4 MiB) is garbage afterwards,
            which Nix collects in time. The exit code is 1 if a machine fails.

            Usage: musher machine test [OPTIONS] <NAME|--all>

            Arguments:
              [NAME]...
                      The machines

            Options:
                  --all
                      Every machine of the fleet

                  --timeout <SECONDS>
                      How long each step may take [default: 60]

                  --connect-timeout <SECONDS>
                      How long connecting may take [default: the configuration's `connect-timeout`]

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
        "doctor --help",
        &expect![[r#"
        exit 0
        Find out what is wrong, or why a derivation would not be built

        Looks at the configuration, the coordinator, the home store, the settings of Nix and each machine.
        Given a derivation, tells which machines could build it, what the others lack, and what Nix makes of
        that. The exit code is 1 if there is a problem.

        Usage: musher doctor [OPTIONS] [DRV]

        Arguments:
          [DRV]
                  A derivation: a file whose name ends in `.drv`

        Options:
              --nix-conf <FILE>
                  Nix's configuration [default: nix.conf in Nix's usual directory]

              --builders-file <FILE>
                  The file of builders that nix.conf includes [default: musher-builders beside nix.conf]

              --program <PATH>
                  The program that Nix starts for a session [default: this one]

              --connect-timeout <SECONDS>
                  How long connecting may take [default: the configuration's `connect-timeout`]

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
        "status -h",
        &expect![[r#"
        exit 0
        Show the machines, and the builds that run, wait and ended lately

        Usage: musher status [OPTIONS]

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
        "reload -h",
        &expect![[r#"
        exit 0
        Have the coordinator read its configuration again, and show what changed

        Usage: musher reload [OPTIONS]

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
}

#[test]
fn commands_that_change_the_machines_have_help() {
    check(
        "machine add --help",
        &expect![[r#"
        exit 0
        Make any Linux host with sshd a machine that builds; nothing need be installed there

        Logs in with your own ssh, which may ask for a password, looks at the host, and puts there: a key
        that may start the worker and do nothing else, this very program, and later the worker's store, all
        below your home directory. Then it builds a little for a test, and adds the machine to musher.toml.
        Every step is told. If one fails, what was put there is taken away again; if all is there already,
        nothing changes.

        Usage: musher machine add [OPTIONS] <USER@HOST[:PORT]>

        Arguments:
          <USER@HOST[:PORT]>
                  The host: `[USER@]HOST[:PORT]`, as your ssh knows it

        Options:
              --name <NAME>
                  What to call the machine [default: the host's name]

              --ssh-key <FILE>
                  The key to log in with from now on [default: one made for this machine]

          -y, --yes
                  Ask nothing, and accept a host key that is not known yet

              --host-key <FINGERPRINT>
                  The fingerprint of the host's key, `SHA256:…`; another is refused

              --max-jobs <NUMBER>
                  How many builds to run at once [default: by processors and memory]

              --system <SYSTEM>
                  A system to build for, several times for several [default: those it runs]

              --feature <FEATURE>
                  A system feature to offer, several times for several [default: those it has]

              --dir <DIR>
                  Keep everything of musher's there in the directory `musher` below this one

              --binary <FILE>
                  The program to put there, for an architecture other than this host's

              --no-sandbox
                  Add it even where builds cannot be sandboxed, and sandbox none

              --dry-run
                  Only look, and print the table that would be added to musher.toml

              --connect-timeout <SECONDS>
                  How long connecting may take [default: the configuration's `connect-timeout`]

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
        "machine remove --help",
        &expect![[r#"
        exit 0
        Take a machine out of musher.toml, and everything of musher's off it

        Logs in with your own ssh, which may ask for a password, and removes there what `machine add` put
        there: the key's line in authorized_keys, the programs, and the worker with its store. If another
        coordinator uses them too, only the key's line goes.

        Usage: musher machine remove [OPTIONS] <NAME>

        Arguments:
          <NAME>
                  The machine

        Options:
          -y, --yes
                  Ask nothing

              --force
                  Take it out of musher.toml even if the host cannot be reached

              --connect-timeout <SECONDS>
                  How long connecting may take [default: the configuration's `connect-timeout`]

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
