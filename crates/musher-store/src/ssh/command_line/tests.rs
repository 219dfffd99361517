//! The arguments as a whole, since their order is what matters.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::{ProcessFiles, master};
use crate::ssh::{ControlDir, SshOptions, SshTarget};
use crate::url::StoreUrl;

#[track_caller]
fn check(url: &str, nix_sshopts: &str, expected: &Expect) {
    let Ok(StoreUrl::Ssh(store)) = url.parse() else {
        panic!("{url} is not understood");
    };
    let target = SshTarget::from(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let control = runtime
        .block_on(ControlDir::open(dir.path()))
        .expect("a control directory");
    let mut options = SshOptions::new(Arc::new(control))
        .with_nix_sshopts(nix_sshopts)
        .expect("words");
    options.connect_timeout = Duration::from_millis(2500);
    let files = ProcessFiles {
        socket: "/run/100%/s0".into(),
        known_hosts: target.host_key.as_ref().map(|_| "/run/a b/k0".into()),
    };
    let words = master(&target, &options, &files, None);
    let words = words.iter().map(|word| word.to_string_lossy());
    expected.assert_eq(&shell_words::join(words));
}

#[test]
fn a_plain_host() {
    check(
        "ssh://bigbox",
        "",
        &expect![
            "-o 'ControlMaster=yes' -o 'ControlPersist=no' -o 'PermitLocalCommand=yes' -o 'LocalCommand=echo started' -o 'ClearAllForwardings=yes' -v -x -a -T -N -o 'BatchMode=yes' -o 'ConnectTimeout=3' -o 'ServerAliveInterval=2' -o 'ServerAliveCountMax=2' -S '/run/100%%/s0' -- bigbox"
        ],
    );
}

#[test]
fn everything_configured() {
    check(
        "ssh-ng://build@[::1]:2222?ssh-key=/k&compress=1&base64-ssh-public-host-key=\
         c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUE9PSByb290QGhvc3QK",
        "",
        &expect![[
            r#"-o 'ControlMaster=yes' -o 'ControlPersist=no' -o 'PermitLocalCommand=yes' -o 'LocalCommand=echo started' -o 'ClearAllForwardings=yes' -v -x -a -T -N -o 'BatchMode=yes' -o 'ConnectTimeout=3' -o 'ServerAliveInterval=2' -o 'ServerAliveCountMax=2' -i /k -o 'HostKeyAlias=::1' -o 'UserKnownHostsFile="/run/a b/k0"' -C -p2222 -l build -S '/run/100%%/s0' -- ::1"#
        ]],
    );
}

#[test]
fn the_users_options_come_before_ours() {
    check(
        "ssh://bigbox",
        "-M -o 'ProxyCommand=nc %h %p' -oConnectTimeout=99",
        &expect![
            "-o 'ControlMaster=yes' -o 'ControlPersist=no' -o 'PermitLocalCommand=yes' -o 'LocalCommand=echo started' -o 'ClearAllForwardings=yes' -o 'ProxyCommand=nc %h %p' '-oConnectTimeout=99' -v -x -a -T -N -o 'BatchMode=yes' -o 'ConnectTimeout=3' -o 'ServerAliveInterval=2' -o 'ServerAliveCountMax=2' -S '/run/100%%/s0' -- bigbox"
        ],
    );
}

#[test]
fn somebody_may_be_asked_and_one_key_may_be_the_only_one() {
    let Ok(StoreUrl::Ssh(store)) = "ssh://bigbox?ssh-key=/k".parse() else {
        panic!("not understood");
    };
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let control = runtime
        .block_on(ControlDir::open(dir.path()))
        .expect("a control directory");
    let mut options = SshOptions::new(Arc::new(control));
    options.interactive = true;
    options.own_key_only = true;
    options.extra = vec!["-i".to_owned(), "/other".to_owned()];
    let files = ProcessFiles {
        socket: "/s0".into(),
        known_hosts: None,
    };
    let words = master(&SshTarget::from(&store), &options, &files, None);
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    assert!(words.iter().all(|word| !word.contains("BatchMode")));
    assert!(words.contains(&"StrictHostKeyChecking=yes".into()));
    let place = |word: &str| words.iter().position(|found| *found == word);
    assert!(place("/k") < place("/other") && place("IdentitiesOnly=yes").is_some());
}
