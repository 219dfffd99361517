//! Making a machine ours: everything between `musher machine add` and a worker
//! that answers, and back again. `docs/design/enrolment.md` tells why it is done
//! so.
//!
//! What a host says, what to make of it, the shim, the line in `authorized_keys`
//! and the table in `musher.toml` are pure; [`Login`], [`FoundHostKey`],
//! [`LoginKey`] and [`install`] do one thing each. Their order, and what is
//! asked of the user, is for the command.

mod authorized_keys;
mod before;
mod binary;
mod cleaning;
mod elf;
mod entry;
mod host_key;
mod install;
mod login;
mod login_key;
mod obstacle;
mod proposal;
mod script;
mod shim;
mod survey;

pub use authorized_keys::{KeyLines, Mark, PublicKey, PublicKeyError};
pub use before::Before;
pub use binary::{Binary, BinaryError, ContentHash};
pub use cleaning::{Cleaned, Cleaning};
pub use elf::{Elf, ElfError};
pub use entry::{Entry, Written, remove as remove_entry};
pub use host_key::{FoundHostKey, HostKeyError};
pub use install::{InstallError, install};
pub use login::{Login, LoginError};
pub use login_key::{LoginKey, LoginKeyError};
pub use obstacle::{Obstacle, notes, obstacles};
pub use proposal::{Proposal, Wishes, system};
pub use shim::{
    NOT_INSTALLED, OTHER_ARCHITECTURE, OddPath, ShimScript, install_command, worker_command,
};
pub use survey::{FileMode, Kvm, Place, Survey, SurveyError};
