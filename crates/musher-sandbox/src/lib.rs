//! Where a build program runs: `plan` decides what it sees and may do, `spawn`
//! makes it so. Knows nothing of derivations and stores.

mod cgroup;
mod ended;
mod error;
mod help;
mod init;
mod limits;
mod plan;
mod planner;
mod probe;
mod raw;
mod request;
mod spawn;
mod wire;

pub use cgroup::{CgroupError, Cgroups, Group};
pub use ended::{Accounting, Cut, Ended, Status, Usage};
pub use error::{Attempt, PlanError, SandboxError, SetupError};
pub use init::{abstract_sockets_are_kept, init_main};
pub use limits::Limits;
pub use plan::{MountCalls, Plan, Program, Step};
pub use planner::plan;
pub use probe::{Finding, Loss, Probe, probe};
pub use request::{Bind, Identity, Ids, Isolation, Network, Personality, Request, StoreView};
pub use spawn::{INIT_COMMAND, Launcher, Output, Running, Stopper, spawn};
