//! Decides which build runs on which machine: `(now, event) → actions`.
//!
//! Pure and deterministic. It knows nothing of sockets, disks, processes or
//! the wall clock; the shell around it reports [`Event`]s and carries out the
//! [`Action`]s it gets back, in order. The same events at the same times give
//! the same actions.
//!
//! ```
//! use musher_scheduler::{Action, BuildId, Estimate, Event, LeaseId, MachineSpec, Needs};
//! use musher_scheduler::{Scheduler, Settings, SpeedFactor, Timestamp};
//!
//! let mut scheduler = Scheduler::new(Settings::default(), LeaseId(1));
//! let now = Timestamp::from_millis(0);
//! let spec = MachineSpec {
//!     id: "b1".into(),
//!     systems: ["x86_64-linux".to_owned()].into(),
//!     slots: 4,
//!     speed_factor: SpeedFactor::ONE,
//!     supported_features: [].into(),
//!     mandatory_features: [].into(),
//!     memory: None,
//! };
//! scheduler.handle(now, Event::MachineConfigured { spec });
//! scheduler.handle(now, Event::MachineAvailable { machine: "b1".into() });
//! let actions = scheduler.handle(
//!     now,
//!     Event::BuildRequested {
//!         request: None,
//!         build: BuildId(7),
//!         needs: Needs { system: "x86_64-linux".into(), features: [].into() },
//!         inputs: vec![],
//!         estimate: Estimate::UNKNOWN,
//!     },
//! );
//! assert_eq!(
//!     actions,
//!     [Action::Assign { build: BuildId(7), machine: "b1".into(), lease: LeaseId(1) }]
//! );
//! ```

mod action;
mod build;
mod capability;
mod choice;
mod classes;
mod estimate;
mod estimator;
mod event;
mod explain;
mod fleet;
mod graph;
mod group;
mod ids;
mod machine;
mod needs;
mod paths;
mod placement;
mod queue;
mod rank;
mod refusal;
mod request;
mod reservations;
mod scheduler;
mod time;

pub use action::{Action, Fault};
pub use capability::{CapabilityClass, capability_classes};
pub use choice::{Because, Candidate, Placement};
pub use estimate::{Confidence, Estimate};
pub use estimator::{BuildKind, Estimator, Observation, Observed, Subject, package_name};
pub use event::{AttemptEnd, Event, Input, PlannedBuild};
pub use explain::{Explanation, MachineView, Outlook, Status, WhyNot};
pub use ids::{BuildId, LeaseId, MachineId, OwnerId, RequestId};
pub use machine::{InvalidSpeedFactor, MachineSpec, Presence, SpeedFactor};
pub use needs::{Lack, Needs};
pub use refusal::Refusal;
pub use scheduler::{Scheduler, Settings};
pub use time::Timestamp;
