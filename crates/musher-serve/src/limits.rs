//! What a client's settings say about how its builds are made, and how long they
//! may take. Knows nothing of whoever holds builds to it.

use musher_api::coordinator as api;
use musher_protocol::worker::Options;

/// How a client wants its builds made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    /// Whether to go on after a failure, as far as possible.
    pub(crate) keep_going: bool,
    /// Whether the build directories of failed builds are kept.
    pub(crate) keep_failed: bool,
    /// Whether to build what could be fetched, but was not to be had.
    pub(crate) fallback: bool,
    /// Whether to fetch what can be fetched.
    pub(crate) substitute: bool,
}

impl Default for How {
    fn default() -> Self {
        Self::of(&Options::default())
    }
}

impl How {
    /// What `options` say.
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            keep_going: options.keep_going,
            keep_failed: options.keep_failed,
            fallback: options.try_fallback,
            substitute: options.use_substitutes,
        }
    }
}

/// The limits among `options`, the stricter where one is given twice.
pub(crate) fn limits(options: &Options) -> api::Limits {
    let setting = |name: &str| {
        let value = options.overrides.get(name)?;
        value.to_string().parse::<u64>().ok()
    };
    let max_silent = [Some(options.max_silent_time), setting("max-silent-time")];
    api::Limits {
        max_silent_seconds: strictest(max_silent),
        timeout_seconds: strictest([setting("timeout")]),
        max_log_bytes: strictest([setting("max-build-log-size")]),
    }
}

/// The smallest limit, where 0 is none.
fn strictest(limits: impl IntoIterator<Item = Option<u64>>) -> u64 {
    let set = limits.into_iter().flatten().filter(|limit| *limit > 0);
    set.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use musher_protocol::types::Text;

    use super::*;

    #[test]
    fn the_stricter_limit_counts() {
        let overrides = [
            ("max-silent-time", "30"),
            ("timeout", "600"),
            ("max-build-log-size", "lots"),
        ];
        let options = Options {
            max_silent_time: 60,
            overrides: overrides
                .map(|(name, value)| (name.to_owned(), Text::from(value)))
                .into(),
            ..Options::default()
        };
        let expected = api::Limits {
            max_silent_seconds: 30,
            timeout_seconds: 600,
            max_log_bytes: 0,
        };
        assert_eq!(limits(&options), expected);
    }

    #[test]
    fn no_limit_is_no_strict_one() {
        let options = Options {
            max_silent_time: 0,
            overrides: [("max-silent-time".to_owned(), Text::from("30"))].into(),
            ..Options::default()
        };
        assert_eq!(limits(&options).max_silent_seconds, 30);
    }
}
