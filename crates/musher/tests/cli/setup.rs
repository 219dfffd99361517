//! `musher setup`.

use expect_test::expect;

use super::support::{Place, has_nix};

const CONFIG: &str = r#"
machine = [
    { name = "a", connect = "ssh-ng://a", systems = ["x86_64-linux"], max-jobs = 4 },
    { name = "b", connect = "ssh://b", systems = ["x86_64-linux"] },
]
"#;

#[test]
fn setup_prints_what_to_write() {
    let place = Place::with(&[("musher.toml", CONFIG)]);
    place.check("setup --program /usr/bin/musher --nix-conf DIR/nix.conf", &expect![[r#"
        exit 0
        # DIR/musher-builders
        # Machines by what they can build. Written by musher, also when machines
        # come and go: changes made here are lost.
        ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux x86_64-linux - 68 1 - - -
        ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux-1b89ed46 x86_64-linux - 65 1 ca-derivations - -

        # DIR/nix.conf
        builders = @DIR/musher-builders
        builders-use-substitutes = true
        max-jobs = 0
    "#]]);
    place.check(
        "setup --program /usr/bin/musher --run DIR/run --nix-conf DIR/nix.conf --json",
        &expect![[r##"
            exit 0
            {
              "builders-file": {
                "path": "DIR/musher-builders",
                "text": "# Machines by what they can build. Written by musher, also when machines\n# come and go: changes made here are lost.\nssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--run%20DIR/run%20--class%20x86_64-linux x86_64-linux - 68 1 - - -\nssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--run%20DIR/run%20--class%20x86_64-linux-1b89ed46 x86_64-linux - 65 1 ca-derivations - -\n",
                "diff": "--- /dev/null\n+++ DIR/musher-builders\n@@ -0,0 +1,4 @@\n+# Machines by what they can build. Written by musher, also when machines\n+# come and go: changes made here are lost.\n+ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--run%20DIR/run%20--class%20x86_64-linux x86_64-linux - 68 1 - - -\n+ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--run%20DIR/run%20--class%20x86_64-linux-1b89ed46 x86_64-linux - 65 1 ca-derivations - -\n"
              },
              "nix-conf": {
                "path": "DIR/nix.conf",
                "text": "# Set by `musher setup`.\nbuilders = @DIR/musher-builders\nbuilders-use-substitutes = true\nmax-jobs = 0\n",
                "diff": "--- /dev/null\n+++ DIR/nix.conf\n@@ -0,0 +1,4 @@\n+# Set by `musher setup`.\n+builders = @DIR/musher-builders\n+builders-use-substitutes = true\n+max-jobs = 0\n"
              },
              "settings": [
                "builders = @DIR/musher-builders",
                "builders-use-substitutes = true",
                "max-jobs = 0"
              ],
              "notes": [],
              "written": []
            }
        "##]],
    );
}

#[test]
fn setup_writes_after_showing_the_difference() {
    let place = Place::with(&[
        ("musher.toml", CONFIG),
        (
            "nix.conf",
            "cores = 2\nmax-jobs = auto\nbuilders = ssh://old\n",
        ),
    ]);
    let command = "setup --write --program /usr/bin/musher --nix-conf DIR/nix.conf";
    place.check(command, &expect![[r#"
        exit 0
        --- /dev/null
        +++ DIR/musher-builders
        @@ -0,0 +1,4 @@
        +# Machines by what they can build. Written by musher, also when machines
        +# come and go: changes made here are lost.
        +ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux x86_64-linux - 68 1 - - -
        +ssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux-1b89ed46 x86_64-linux - 65 1 ca-derivations - -
        --- DIR/nix.conf
        +++ DIR/nix.conf
        @@ -1,3 +1,6 @@
         cores = 2
        -max-jobs = auto
        -builders = ssh://old
        +max-jobs = 0
        +builders = @DIR/musher-builders
        +
        +# Set by `musher setup`.
        +builders-use-substitutes = true
        --- messages
        note:  Nix will no longer use `builders = ssh://old`; `musher machine import` takes machines over
        note:  wrote `DIR/musher-builders`
        note:  wrote `DIR/nix.conf`
        note:  restart nix-daemon, which reads nix.conf when it starts
    "#]]);
    expect![[r#"
        cores = 2
        max-jobs = 0
        builders = @DIR/musher-builders

        # Set by `musher setup`.
        builders-use-substitutes = true
    "#]]
    .assert_eq(&place.read("nix.conf"));
    place.check(&format!("{command} --json"), &expect![[r##"
        exit 0
        {
          "builders-file": {
            "path": "DIR/musher-builders",
            "text": "# Machines by what they can build. Written by musher, also when machines\n# come and go: changes made here are lost.\nssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux x86_64-linux - 68 1 - - -\nssh-ng://localhost?remote-program=/usr/bin/musher%20serve%20--config%20DIR/musher.toml%20--class%20x86_64-linux-1b89ed46 x86_64-linux - 65 1 ca-derivations - -\n",
            "diff": ""
          },
          "nix-conf": {
            "path": "DIR/nix.conf",
            "text": "cores = 2\nmax-jobs = 0\nbuilders = @DIR/musher-builders\n\n# Set by `musher setup`.\nbuilders-use-substitutes = true\n",
            "diff": ""
          },
          "settings": [
            "builders = @DIR/musher-builders",
            "builders-use-substitutes = true",
            "max-jobs = 0"
          ],
          "notes": [],
          "written": []
        }
    "##]]);
    place.check(
        command,
        &expect![[r#"
        exit 0
        --- messages
        note:  everything is set up already
    "#]],
    );
}

#[test]
fn setup_refuses_what_would_stop_every_build() {
    let place = Place::with(&[("musher.toml", "")]);
    place.check("setup --write --nix-conf DIR/nix.conf", &expect![[r#"
        exit 2
        --- messages
        error: no machine to build on
        help:  add a `[[machine]]` to musher.toml, or import Nix's with `musher machine import /etc/nix/machines --write`
    "#]]);
}

#[test]
fn setup_says_that_there_is_no_nix() {
    if has_nix() {
        return;
    }
    let place = Place::with(&[("musher.toml", CONFIG)]);
    let note = "note:  no Nix is found on this host";
    let told = place.run("setup --program /usr/bin/musher");
    assert!(told.contains(note), "{told}");
    // Whoever names the file knows what it is for.
    let told = place.run("setup --program /usr/bin/musher --nix-conf DIR/nix.conf");
    assert!(!told.contains(note), "{told}");
}

#[test]
fn the_line_of_the_store_is_shown_and_written() {
    let config = "home-store = \"daemon\"";
    let place = Place::with(&[("musher.toml", config), ("nix.conf", "cores = 2\n")]);
    place.check(
        "setup --store --run /run/musher --nix-conf DIR/nix.conf",
        &expect![[r#"
            exit 0
            # DIR/nix.conf
            store = unix:///run/musher/nix.sock
            # or in the environment
            NIX_REMOTE=unix:///run/musher/nix.sock
        "#]],
    );
    place.check(
        "setup --store --write --run /run/musher --nix-conf DIR/nix.conf",
        &expect![[r#"
            exit 0
            --- DIR/nix.conf
            +++ DIR/nix.conf
            @@ -1 +1,4 @@
             cores = 2
            +
            +# Set by `musher setup`.
            +store = unix:///run/musher/nix.sock
            --- messages
            note:  wrote `DIR/nix.conf`
        "#]],
    );
    place.check(
        "setup --store --write --run /run/musher --nix-conf DIR/nix.conf --json",
        &expect![[r#"
            exit 0
            {
              "nix-conf": "DIR/nix.conf",
              "diff": "",
              "setting": "store = unix:///run/musher/nix.sock",
              "environment": "NIX_REMOTE=unix:///run/musher/nix.sock",
              "written": false
            }
        "#]],
    );
}

#[test]
fn a_store_that_clients_would_not_find_is_refused() {
    let config = "home-store = \"/srv/store\"";
    let place = Place::with(&[("musher.toml", config)]);
    place.check("setup --store --nix-conf DIR/nix.conf", &expect![[r#"
        exit 2
        --- messages
        error: the home store is `local?root=/srv/store`, and not this machine's Nix store
        help:  a `unix://` client reads logs and files from its own disk; have clients come by `ssh-ng://`, or name where they lie by `?root=DIR` in the URL
    "#]]);
}
