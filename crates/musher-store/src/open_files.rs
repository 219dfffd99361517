//! How many files this process may have open. Stores hold locks, of which each
//! is an open file, and daemons have many connections, so they ask for more than
//! the usual 1024; what they start for others should not notice.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// In the environment of other processes of ours: what the limit was before it
/// was raised.
pub const VARIABLE: &str = "MUSHER_OPEN_FILES";

/// As many as are ever needed. There are programs that close every descriptor
/// they might have been given, one by one, and limits of a thousand million.
const ENOUGH: u64 = 1 << 16;

/// What the limit was.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises this process's limit as far as its user may. To be called at the start,
/// once.
pub fn raise() {
    let found = getrlimit(Resource::Nofile);
    let told = std::env::var(VARIABLE).ok().and_then(|told| parse(&told));
    let before = told.unwrap_or(found.current);
    if BEFORE.set(before).is_err() {
        return;
    }
    let wanted = found.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if found.current.is_some_and(|current| current < wanted) {
        let limit = Rlimit {
            current: Some(wanted),
            ..found
        };
        // Where this fails, whoever opens one file too many says so.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// The limit before [`raise`]; none for no limit.
pub fn before() -> Option<u64> {
    match BEFORE.get() {
        Some(before) => *before,
        None => getrlimit(Resource::Nofile).current,
    }
}

/// [`VARIABLE`]'s value for a process that is started.
pub fn told() -> String {
    before().map_or_else(|| "unlimited".to_owned(), |before| before.to_string())
}

fn parse(told: &str) -> Option<Option<u64>> {
    match told {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_are_told_is_understood() {
        assert_eq!(parse("1024"), Some(Some(1024)));
        assert_eq!(parse("unlimited"), Some(None));
        assert_eq!(parse("some"), None);
    }
}
