//! What a build needs of a machine, and what a machine may lack of it. Knows
//! what could ever work, not what could work now.

use std::collections::BTreeSet;
use std::fmt;

use crate::MachineSpec;

/// The system every machine accepts: such builds run inside Nix itself.
const BUILTIN: &str = "builtin";

/// What a build needs of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// The derivation's `system`.
    pub system: String,
    /// Its `requiredSystemFeatures`.
    pub features: BTreeSet<String>,
}

impl Needs {
    /// Everything that keeps `spec` from ever building this; empty if nothing
    /// does.
    ///
    /// As Nix decides it: every machine accepts the system `builtin`, mandatory
    /// features also count as supported, and a machine takes only builds that
    /// require each of its mandatory features.
    pub fn lacks(&self, spec: &MachineSpec) -> Vec<Lack> {
        let missing: BTreeSet<_> = (self.features.iter())
            .filter(|feature| !spec.supports(feature))
            .cloned()
            .collect();
        let not_required: BTreeSet<_> = (spec.mandatory_features)
            .difference(&self.features)
            .cloned()
            .collect();

        let mut lacks = Vec::new();
        if self.system != BUILTIN && !spec.systems.contains(&self.system) {
            let offered = spec.systems.clone();
            lacks.push(Lack::System { offered });
        }
        if !missing.is_empty() {
            lacks.push(Lack::Features { missing });
        }
        if !not_required.is_empty() {
            lacks.push(Lack::MandatoryFeatures { not_required });
        }
        if spec.slots == 0 {
            lacks.push(Lack::Slots);
        }
        lacks
    }
}

/// `` `x86_64-linux` `` or `` `x86_64-linux` with features `big`, `kvm` ``.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.system)?;
        match self.features.len() {
            0 => Ok(()),
            1 => write!(f, " with feature {}", Quoted(&self.features)),
            _ => write!(f, " with features {}", Quoted(&self.features)),
        }
    }
}

/// One thing that keeps a machine from ever making a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// It does not offer the build's system.
    System {
        /// The systems it offers.
        offered: BTreeSet<String>,
    },
    /// It does not support all features the build requires.
    Features {
        /// Those it does not support.
        missing: BTreeSet<String>,
    },
    /// It is reserved for builds that require certain features.
    MandatoryFeatures {
        /// Its mandatory features that the build does not require.
        not_required: BTreeSet<String>,
    },
    /// It is configured to run no builds at all.
    Slots,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { offered } if offered.is_empty() => f.write_str("offers no system"),
            Self::System { offered } => write!(f, "offers only {}", Quoted(offered)),
            Self::Features { missing } => write!(f, "lacks {}", Quoted(missing)),
            Self::MandatoryFeatures { not_required } => {
                write!(f, "takes only builds that require {}", Quoted(not_required))
            }
            Self::Slots => f.write_str("has no slots"),
        }
    }
}

/// Everything a machine lacks, in a row.
pub(crate) struct Lacks<'a>(pub(crate) &'a [Lack]);

impl fmt::Display for Lacks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, lack) in self.0.iter().enumerate() {
            let and = if at == 0 { "" } else { " and " };
            write!(f, "{and}{lack}")?;
        }
        Ok(())
    }
}

/// Names in backticks, separated by commas.
struct Quoted<'a>(&'a BTreeSet<String>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{name}`")?;
        }
        Ok(())
    }
}
