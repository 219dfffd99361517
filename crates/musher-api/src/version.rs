//! Which version of the worker's protocol two ends speak. Pure.

use std::ops::RangeInclusive;

/// The versions that one end speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions(RangeInclusive<u32>);

/// Two ends that have no version in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("one end speaks versions {ours} of the worker's protocol, the other {theirs}")]
pub struct NoCommonVersion {
    /// What this end speaks.
    pub ours: Versions,
    /// What the other end speaks.
    pub theirs: Versions,
}

impl Versions {
    /// What this release speaks: its own version, and the one before, so that
    /// either end can be upgraded first.
    pub const OURS: Self = Self(1..=2);

    /// The first version with NARs that come with a result.
    pub const NAR_AHEAD: u32 = 2;

    /// The versions from `min` to `max`.
    pub fn new(min: u32, max: u32) -> Self {
        Self(min..=max)
    }

    /// The oldest.
    pub fn min(&self) -> u32 {
        *self.0.start()
    }

    /// The newest.
    pub fn max(&self) -> u32 {
        *self.0.end()
    }

    /// The newest version that both ends speak.
    pub fn agree(&self, theirs: &Self) -> Result<u32, NoCommonVersion> {
        let version = self.max().min(theirs.max());
        let common = version >= self.min() && version >= theirs.min();
        match common {
            true => Ok(version),
            false => Err(NoCommonVersion {
                ours: self.clone(),
                theirs: theirs.clone(),
            }),
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min(), self.max())
    }
}

#[cfg(test)]
mod tests {
    use super::Versions;

    #[test]
    fn ends_one_version_apart_understand_each_other() {
        let at = |version: u32| Versions::new(version - 1, version);
        for (ours, theirs, agreed) in [(7, 7, Some(7)), (7, 6, Some(6)), (6, 7, Some(6))] {
            assert_eq!(at(ours).agree(&at(theirs)).ok(), agreed);
        }
        let error = at(9).agree(&at(7)).expect_err("they have none in common");
        assert_eq!(
            error.to_string(),
            "one end speaks versions 8 to 9 of the worker's protocol, the other 6 to 7"
        );
        assert!(at(7).agree(&at(9)).is_err());
    }
}
