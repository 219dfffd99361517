//! Machines grouped by what they can build, for the lines `setup` writes. Knows
//! nothing of builds, nor of where the lines go.

use std::collections::BTreeSet;

use crate::{MachineSpec, SpeedFactor};

/// Machines that can make exactly the same builds, taken together.
#[derive(Debug, Clone, PartialEq)]
pub struct CapabilityClass {
    /// A short name that follows from the capabilities alone, so it stays when
    /// machines come and go. Letters, digits, `-`, `.` and `_` only.
    pub name: String,
    /// The systems each of them builds for.
    pub systems: BTreeSet<String>,
    /// The features each of them supports, the mandatory ones included.
    pub supported_features: BTreeSet<String>,
    /// The features a build must require to be built there.
    pub mandatory_features: BTreeSet<String>,
    /// Their slots together.
    pub slots: u32,
    /// The speed factor of the fastest.
    pub max_speed_factor: SpeedFactor,
}

/// The classes `machines` fall into, in the order of names. Machines without
/// slots are in none.
pub fn capability_classes<'a>(
    machines: impl IntoIterator<Item = &'a MachineSpec>,
) -> Vec<CapabilityClass> {
    let mut classes: Vec<CapabilityClass> = Vec::new();
    for spec in machines.into_iter().filter(|spec| spec.slots > 0) {
        let alone = CapabilityClass::of(spec);
        match classes.iter_mut().find(|class| class.is_like(&alone)) {
            Some(class) => class.absorb(&alone),
            None => classes.push(alone),
        }
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

impl CapabilityClass {
    /// The class of one machine alone.
    fn of(spec: &MachineSpec) -> Self {
        let supported = &spec.supported_features | &spec.mandatory_features;
        Self {
            name: name(&spec.systems, &supported, &spec.mandatory_features),
            systems: spec.systems.clone(),
            supported_features: supported,
            mandatory_features: spec.mandatory_features.clone(),
            slots: spec.slots,
            max_speed_factor: spec.speed_factor,
        }
    }

    /// Whether both can make the same builds.
    fn is_like(&self, other: &Self) -> bool {
        self.systems == other.systems
            && self.supported_features == other.supported_features
            && self.mandatory_features == other.mandatory_features
    }

    /// Counts the machines of `other`, which is like this one, into it.
    fn absorb(&mut self, other: &Self) {
        self.slots = self.slots.saturating_add(other.slots);
        if other.max_speed_factor > self.max_speed_factor {
            self.max_speed_factor = other.max_speed_factor;
        }
    }
}

/// The first system, for the reader, and a hash of everything, for the rest. A
/// machine of one plain system and no features goes by that system alone.
fn name(
    systems: &BTreeSet<String>,
    supported: &BTreeSet<String>,
    mandatory: &BTreeSet<String>,
) -> String {
    let first = systems.first().map_or("none", String::as_str);
    let slug: String = (first.chars().take(24))
        .map(|c| if is_safe(c) { c } else { '-' })
        .collect();
    if systems.len() == 1 && supported.is_empty() && slug == first {
        return slug;
    }
    let mut hash = Fnv::new();
    for set in [systems, supported, mandatory] {
        hash.number(set.len());
        for item in set {
            hash.number(item.len());
            hash.bytes(item.as_bytes());
        }
    }
    format!("{slug}-{:08x}", hash.folded())
}

/// Whether `c` stands for itself in a URI, a shell word and a file name.
const fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

/// FNV-1a of 64 bits. Written out because the names must be the same in every
/// version, which the standard library's hashers do not promise. Whoever could
/// make two names collide can write the configuration anyway.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: usize) {
        self.bytes(&(number as u64).to_le_bytes());
    }

    const fn folded(&self) -> u64 {
        (self.0 >> 32) ^ (self.0 & 0xffff_ffff)
    }
}
