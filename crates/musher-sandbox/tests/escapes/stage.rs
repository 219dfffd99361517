//! A place for one sandbox: a store with a few paths, a scratch and a build
//! directory, and the user that asks.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use musher_sandbox::{
    Bind, Ended, Identity, Ids, Isolation, Limits, MountCalls, Network, Personality, Plan, Request,
    StoreView,
};
use tempfile::TempDir;

/// Who asks for a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A user without any rights.
    Rootless,
    /// Root, for a slot with ids of its own.
    Root,
}

/// Ids that nobody has: `nobody` may have processes.
const USER: Ids = Ids {
    uid: 64_998,
    gid: 64_998,
};
const SLOT: Ids = Ids {
    uid: 64_999,
    gid: 64_999,
};

const TRIAL: &str = env!("CARGO_BIN_EXE_musher-sandbox-trial");

/// What it is called where it runs.
const NAME: &str = "trial";

/// The names of the store's paths: a directory, a file, a link, and one that is
/// no input.
pub(crate) const DIRECTORY: &str = "00000000000000000000000000000000-directory";
pub(crate) const FILE: &str = "11111111111111111111111111111111-file";
pub(crate) const LINK: &str = "22222222222222222222222222222222-link";
pub(crate) const OTHER: &str = "33333333333333333333333333333333-other";

/// A place for one sandbox, gone when dropped.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) who: Who,
    pub(crate) request: Request,
    pub(crate) mounts: MountCalls,
}

/// What came of a sandbox.
pub(crate) struct Outcome {
    /// What the build program said.
    pub(crate) said: String,
    /// How it ended, or why it did not start.
    pub(crate) ended: Result<Ended, String>,
}

/// A sandbox that is there.
pub(crate) struct Started {
    child: Child,
    /// Kept open while the build shall go on.
    input: Option<ChildStdin>,
}

/// Whether this test can be made as that user; says so if not.
pub(crate) fn can(who: Who) -> bool {
    let root = rustix::process::geteuid().is_root();
    if who == Who::Root && !root {
        eprintln!("skipped as root: the tests run as another user");
    }
    root || who == Who::Rootless
}

/// Each kind of user that this test can be.
pub(crate) fn whos() -> impl Iterator<Item = Who> {
    [Who::Rootless, Who::Root]
        .into_iter()
        .filter(|who| can(*who))
}

/// A stage for each kind of user that this test can be.
pub(crate) fn both() -> impl Iterator<Item = Stage> {
    whos().map(Stage::new)
}

/// Puts the program into `dir`: others may not get to where it was made.
pub(crate) fn trial_in(dir: &Path) -> PathBuf {
    let program = dir.join(NAME);
    fs::hard_link(TRIAL, &program)
        .or_else(|_| fs::copy(TRIAL, &program).map(drop))
        .expect("a copy");
    program
}

impl Stage {
    pub(crate) fn new(who: Who) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (real, scratch, build) = (at("real"), at("scratch"), at("build"));
        for made in [
            &real,
            &scratch,
            &build,
            &real.join(DIRECTORY),
            &real.join(OTHER),
        ] {
            fs::create_dir(made).expect("a directory");
        }
        fs::write(real.join(DIRECTORY).join("f"), "an input").expect("a file");
        fs::write(real.join(OTHER).join("secret"), "another's").expect("a file");
        fs::write(real.join(FILE), "an input").expect("a file");
        std::os::unix::fs::symlink(DIRECTORY, real.join(LINK)).expect("a link");
        let trial = trial_in(dir.path());
        let request = Request {
            isolation: Isolation::Full,
            program: PathBuf::from("/trial"),
            args: vec!["trial".into()],
            env: vec![("A".into(), "1".into())],
            store: StoreView {
                dir: PathBuf::from("/nix/store"),
                real,
                inputs: [DIRECTORY, FILE, LINK].map(str::to_owned).into(),
            },
            scratch,
            build_dir: build,
            build_dir_inside: PathBuf::from("/build"),
            binds: vec![Bind {
                source: trial,
                target: PathBuf::from("/trial"),
                writable: false,
                optional: false,
            }],
            network: Network::Loopback,
            identity: match who {
                Who::Rootless => Identity::Rootless,
                Who::Root => Identity::Slot(SLOT),
            },
            inside: Ids::NIXBLD,
            personality: Personality::Native,
            kvm: false,
            filter_syscalls: true,
            shm_size: "50%".to_owned(),
            limits: Limits::default(),
            cgroup: Vec::new(),
        };
        let stage = Self {
            dir,
            who,
            request,
            mounts: MountCalls::Detect,
        };
        stage.give_away();
        stage
    }

    /// What a user of their own store owns, and what root gives to a slot.
    fn give_away(&self) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let give = |path: &Path, ids: Ids| {
            std::os::unix::fs::lchown(path, Some(ids.uid), Some(ids.gid)).expect("as root");
        };
        let store = &self.request.store.real;
        match self.who {
            Who::Rootless => {
                let inputs = [store.join(DIRECTORY), store.join(DIRECTORY).join("f")];
                let more = [
                    store.join(FILE),
                    store.clone(),
                    self.dir.path().to_path_buf(),
                ];
                let own = [self.request.scratch.clone(), self.request.build_dir.clone()];
                for path in inputs.iter().chain(&more).chain(&own) {
                    give(path, USER);
                }
            }
            Who::Root => give(&self.request.build_dir, SLOT),
        }
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), mode).expect("as root");
    }

    /// The program that orders the build and does what is tried in it.
    pub(crate) fn trial(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    /// The user and group to become, if that is not who runs the tests.
    pub(crate) fn asks_as(&self) -> Option<u32> {
        let other = self.who == Who::Rootless && rustix::process::geteuid().is_root();
        other.then_some(USER.uid)
    }

    pub(crate) fn start(&self, deeds: &[&str]) -> Started {
        let mut request = self.request.clone();
        request.args.extend(deeds.iter().map(OsString::from));
        let mut plan = musher_sandbox::plan(&request).expect("a plan");
        plan.mounts = self.mounts;
        self.order(&plan)
    }

    fn order(&self, plan: &Plan) -> Started {
        let mut command = Command::new(self.trial());
        command
            .arg("drive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(uid) = self.asks_as() {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().expect("the trial program");
        let mut input = child.stdin.take().expect("a pipe");
        let text = serde_json::to_string(plan).expect("JSON");
        input
            .write_all(&(text.len() as u64).to_le_bytes())
            .expect("a reader");
        input.write_all(text.as_bytes()).expect("a reader");
        Started {
            child,
            input: Some(input),
        }
    }

    pub(crate) fn run(&self, deeds: &[&str]) -> Outcome {
        self.start(deeds).wait()
    }
}

impl Started {
    /// The process that asked.
    pub(crate) fn asker(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the build has said so much.
    pub(crate) fn hear(&mut self, wanted: &str) {
        let output = self.child.stderr.as_mut().expect("a pipe");
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let some = output.read(&mut byte).expect("a pipe");
            assert_eq!(
                some,
                1,
                "the build ended after {:?}",
                String::from_utf8_lossy(&heard)
            );
            heard.push(byte[0]);
        }
    }

    /// Ends the build, as a caller that lost interest does.
    pub(crate) fn stop(&mut self) {
        self.input = None;
    }

    pub(crate) fn wait(mut self) -> Outcome {
        let mut said = String::new();
        let mut output = self.child.stderr.take().expect("a pipe");
        output.read_to_string(&mut said).expect("text");
        let mut line = String::new();
        let mut answer = self.child.stdout.take().expect("a pipe");
        answer.read_to_string(&mut line).expect("text");
        self.child.wait().expect("a child");
        let ended = serde_json::from_str(&line).map_err(|_| line);
        Outcome { said, ended }
    }
}
