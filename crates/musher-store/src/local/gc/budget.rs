//! How large a store may grow, and how much of the disk it leaves free.

use super::super::LocalError;
use super::super::layout::Layout;

/// What a store may take. Each limit is in bytes; without any it may take all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// The most that its paths may take together (`max-store-size`).
    pub max_store_size: Option<u64>,
    /// The least that is to be free on its disk (`min-free`).
    pub min_free: Option<u64>,
}

impl Budget {
    /// The bytes that are too many, if any are.
    pub(super) fn excess(&self, size: u64, free: u64) -> Option<u64> {
        let over = self
            .max_store_size
            .map_or(0, |most| size.saturating_sub(most));
        let short = self.min_free.map_or(0, |least| least.saturating_sub(free));
        Some(over.max(short)).filter(|excess| *excess > 0)
    }
}

/// The bytes that are free on the store's disk, for us.
pub(super) fn free(layout: &Layout) -> Result<u64, LocalError> {
    let found = rustix::fs::statvfs(&layout.store)
        .map_err(|errno| LocalError::io("look at the disk of", &layout.store)(errno.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn the_larger_lack_counts() {
        let budget = |max_store_size, min_free| Budget {
            max_store_size,
            min_free,
        };
        assert_eq!(budget(None, None).excess(u64::MAX, 0), None);
        assert_eq!(budget(Some(100), None).excess(100, 0), None);
        assert_eq!(budget(Some(100), Some(50)).excess(130, 40), Some(30));
        assert_eq!(budget(Some(100), Some(50)).excess(110, 10), Some(40));
    }
}
