//! What a sandbox costs: from asking for one to knowing that its program, which
//! does nothing, ended. `musher-sandbox-trial cost DIR ROUNDS INPUTS`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use musher_sandbox::{
    Bind, Identity, Ids, Isolation, Launcher, Limits, Network, Output, Personality, Request,
    StoreView, plan, spawn,
};

const SLOT: Ids = Ids {
    uid: 64_995,
    gid: 64_995,
};

pub(crate) fn measure(dir: &Path, rounds: u32, inputs: u32) -> ExitCode {
    let names: Vec<String> = (0..inputs)
        .map(|number| format!("{number:032}-input"))
        .collect();
    for name in &names {
        fs::create_dir_all(dir.join("store").join(name)).expect("a directory");
    }
    let own = std::env::current_exe().expect("this program");
    let mut times: Vec<Duration> = (0..rounds)
        .map(|round| once(dir, &own, &names, round))
        .collect();
    times.sort();
    let mut plain: Vec<Duration> = (0..rounds).map(|_| without(&own)).collect();
    plain.sort();
    for (what, times) in [("sandbox", times), ("no sandbox", plain)] {
        let middle = times[times.len() / 2];
        println!(
            "{what}: median {middle:?}, best {:?}, worst {:?}",
            times[0],
            times[times.len() - 1]
        );
    }
    ExitCode::SUCCESS
}

fn once(dir: &Path, own: &Path, names: &[String], round: u32) -> Duration {
    let scratch = dir.join(format!("scratch-{round}"));
    let build = dir.join(format!("build-{round}"));
    for made in [&scratch, &build] {
        fs::create_dir(made).expect("a directory");
    }
    let started = Instant::now();
    let request = request(dir, own, names, &scratch, &build);
    let plan = plan(&request).expect("a plan");
    let null = || {
        File::options()
            .write(true)
            .open("/dev/null")
            .expect("a device")
            .into()
    };
    let output = Output {
        stdout: null(),
        stderr: null(),
    };
    let running = spawn(&plan, &Launcher::this_program(), output).expect("a process");
    let ended = running.wait().expect("a sandbox");
    let time = started.elapsed();
    assert!(ended.status.is_success(), "{ended:?}");
    for made in [&scratch, &build] {
        fs::remove_dir_all(made).expect("ours");
    }
    time
}

/// The same program, simply started.
fn without(own: &Path) -> Duration {
    let started = Instant::now();
    assert!(
        Command::new(own)
            .arg("exit 0")
            .status()
            .expect("a process")
            .success()
    );
    started.elapsed()
}

fn request(dir: &Path, own: &Path, names: &[String], scratch: &Path, build: &Path) -> Request {
    let root = rustix::process::geteuid().is_root();
    Request {
        isolation: Isolation::Full,
        program: PathBuf::from("/trial"),
        args: vec!["trial".into(), "exit 0".into()],
        env: Vec::new(),
        store: StoreView {
            dir: PathBuf::from("/nix/store"),
            real: dir.join("store"),
            inputs: names.iter().cloned().collect(),
        },
        scratch: scratch.to_path_buf(),
        build_dir: build.to_path_buf(),
        build_dir_inside: PathBuf::from("/build"),
        binds: vec![Bind {
            target: PathBuf::from("/trial"),
            ..Bind::same(own)
        }],
        network: Network::Loopback,
        identity: if root {
            Identity::Slot(SLOT)
        } else {
            Identity::Rootless
        },
        inside: Ids::NIXBLD,
        personality: Personality::Native,
        kvm: false,
        filter_syscalls: true,
        shm_size: "50%".to_owned(),
        limits: Limits::default(),
        cgroup: Vec::new(),
    }
}
