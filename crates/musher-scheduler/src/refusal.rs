//! The verdict that no machine could ever make a build. Knows nothing of
//! which machines are busy or away.

use std::fmt;

use crate::needs::Lacks;
use crate::{Lack, MachineId, Needs};

/// Why no machine of the fleet could ever make a build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no machine can build for {needs}: {}", Machines(.machines))]
pub struct Refusal {
    /// What the build needs.
    pub needs: Needs,
    /// Each machine of the fleet in the order of names, and everything it
    /// lacks. Empty if there is no machine.
    pub machines: Vec<(MachineId, Vec<Lack>)>,
}

impl Refusal {
    /// Advice the user can act on.
    pub fn help(&self) -> String {
        format!("configure a machine for {}", self.needs)
    }
}

/// What each machine lacks, as one line.
struct Machines<'a>(&'a [(MachineId, Vec<Lack>)]);

impl fmt::Display for Machines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there are no machines");
        }
        for (at, (machine, lacks)) in self.0.iter().enumerate() {
            let semicolon = if at == 0 { "" } else { "; " };
            write!(f, "{semicolon}`{machine}` {}", Lacks(lacks))?;
        }
        Ok(())
    }
}
