//! A core with machines that do what the test says. The clock is to be paused:
//! it then goes on only while nothing else does, and a wait has a bound that
//! costs no time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use musher_scheduler::{LeaseId, MachineId, MachineSpec, Presence, Settings, SpeedFactor};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{FakeMachine, HomeStore, Try, info};
use crate::build::{BuildSpec, Ended, Progress, Stage};
use crate::core::{Command, Core, CoreHandle, MachineSetup, View};
use crate::history::History;
use crate::home::{Home, Place};
use crate::kept_logs::KeptLogs;

/// Waits for something that must come, for at most an hour of paused time.
pub(crate) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    let hour = Duration::from_secs(3600);
    timeout(hour, wait).await.expect("it does not happen")
}

/// A core and its machines.
pub(crate) struct Team {
    pub(crate) core: CoreHandle,
    pub(crate) home: Arc<HomeStore>,
    machines: BTreeMap<String, Arc<FakeMachine>>,
    tries: mpsc::UnboundedReceiver<Try>,
    try_sender: mpsc::UnboundedSender<Try>,
    pub(crate) logs: tempfile::TempDir,
    pub(crate) history: History,
}

impl Team {
    /// A core whose home store holds `lib`, and `src` that refers to it. Its
    /// machines have these names and numbers of slots, and are available.
    pub(crate) async fn new(machines: &[(&str, u32)]) -> Self {
        let home = Arc::new(HomeStore::new([info("lib", &[]), info("src", &["lib"])]));
        let logs = tempfile::tempdir().expect("a temporary directory");
        let history = History::unkept();
        let core = Core::start(
            Settings { max_faults: 3 },
            LeaseId(100),
            Arc::new(Home::new(home.clone(), Place::Elsewhere)),
            logs.path().to_owned(),
            Arc::new(KeptLogs::new(logs.path().join("kept"))),
            history.clone(),
        );
        let (try_sender, tries) = mpsc::unbounded_channel();
        let mut team = Self {
            core,
            home,
            machines: BTreeMap::new(),
            tries,
            try_sender,
            logs,
            history,
        };
        team.configure(machines).await;
        for (name, _) in machines {
            team.until_away(name, false).await;
        }
        team
    }

    /// Makes these the machines, and says what the core says changed. A name
    /// with an `@` is reached by what follows it; by `@child` it is a child of
    /// ours.
    pub(crate) async fn configure(&mut self, machines: &[(&str, u32)]) -> Vec<String> {
        let setups = machines.iter().map(|(name, slots)| {
            let connect = (*name).to_owned();
            let name = name.split('@').next().unwrap_or(name);
            let machine = Arc::new(FakeMachine::new(name, self.try_sender.clone()));
            if !self.machines.contains_key(&connect) {
                self.machines.insert(connect.clone(), machine.clone());
            }
            let spec = MachineSpec {
                id: MachineId::from(name),
                systems: ["x86_64-linux".to_owned()].into(),
                slots: *slots,
                speed_factor: SpeedFactor::ONE,
                supported_features: [].into(),
                mandatory_features: [].into(),
                memory: None,
            };
            let setup = MachineSetup {
                shown: connect.clone(),
                is_child: connect.ends_with("@child"),
                connect,
                builder: machine,
                spec,
            };
            (setup.spec.id.clone(), setup)
        });
        let machines = setups.collect();
        let configure = |reply| Command::Configure { machines, reply };
        self.core.ask(configure).await.expect("the core runs")
    }

    /// The machine that was configured as `name`.
    pub(crate) fn machine(&self, name: &str) -> &FakeMachine {
        &self.machines[name]
    }

    /// Waits until the core knows the machine to be away, or not to be. Does not
    /// let time pass.
    pub(crate) async fn until_away(&self, name: &str, away: bool) {
        for _ in 0..1000 {
            let view = self.view().await;
            let is_away = (view.machines.iter())
                .find(|machine| machine.spec.id.as_str() == name)
                .is_some_and(|machine| matches!(machine.presence, Presence::Away { .. }));
            if is_away == away {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("`{name}` does not get there");
    }

    /// What the core shows. It has done by then all it was told before.
    pub(crate) async fn view(&self) -> View {
        let view = self.core.ask(|reply| Command::View { reply }).await;
        view.expect("the core runs")
    }

    /// Asks for a build.
    pub(crate) async fn request(&self, spec: BuildSpec) -> watch::Receiver<Progress> {
        let spec = Box::new(spec);
        let build = |reply| Command::Build {
            spec,
            part: None,
            reply,
        };
        self.core.ask(build).await.expect("the core runs")
    }

    /// The next attempt that a machine is asked to make.
    pub(crate) async fn next_try(&mut self) -> Try {
        soon(self.tries.recv()).await.expect("the sender is ours")
    }

    /// Makes sure that no machine is asked for another attempt.
    pub(crate) async fn no_try(&mut self) {
        for _ in 0..20 {
            self.view().await;
        }
        if let Ok(found) = self.tries.try_recv() {
            panic!("`{}` is built on `{}`", found.build, found.machine);
        }
    }
}

/// Waits until the build has ended.
pub(crate) async fn ended(progress: &mut watch::Receiver<Progress>) -> Arc<Ended> {
    let over = |progress: &Progress| matches!(progress.stage, Stage::Ended(_));
    let progress = soon(progress.wait_for(over)).await;
    match &progress.expect("the core runs").stage {
        Stage::Ended(ended) => ended.clone(),
        Stage::Waiting(_) | Stage::Running => unreachable!("bug: it has ended"),
    }
}

/// Waits until the build waits for a reason that contains `part`.
pub(crate) async fn waits(progress: &mut watch::Receiver<Progress>, part: &str) {
    let waits = |progress: &Progress| match &progress.stage {
        Stage::Waiting(waiting) => waiting.text.contains(part),
        Stage::Running | Stage::Ended(_) => false,
    };
    soon(progress.wait_for(waits)).await.expect("the core runs");
}
