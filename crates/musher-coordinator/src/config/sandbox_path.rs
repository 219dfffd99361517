//! One entry of `sandbox-paths`: a path of the machine made visible to builds.
//! Only the shape is known here; workers mount it.

use std::fmt;
use std::path::PathBuf;

pub(super) const SANDBOX_PATH: &str =
    "an absolute path like `/bin/sh`, `/bin/sh=/usr/bin/busybox` or `/dev/kvm?`";

/// `TARGET[=SOURCE][?]`: `SOURCE` (`TARGET` itself if absent) seen as `TARGET`
/// inside the sandbox. With `?` a machine without it goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPath {
    /// The path inside the sandbox.
    pub target: PathBuf,
    /// The path on the machine.
    pub source: PathBuf,
    /// Whether the machine may lack it.
    pub optional: bool,
}

impl SandboxPath {
    /// Reads one entry; none unless both paths are absolute.
    pub fn parse(text: &str) -> Option<Self> {
        let (paths, optional) = match text.strip_suffix('?') {
            Some(paths) => (paths, true),
            None => (text, false),
        };
        let (target, source) = paths.split_once('=').unwrap_or((paths, paths));
        (target.starts_with('/') && source.starts_with('/')).then(|| Self {
            target: PathBuf::from(target),
            source: PathBuf::from(source),
            optional,
        })
    }
}

impl fmt::Display for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target.display())?;
        if self.source != self.target {
            write!(f, "={}", self.source.display())?;
        }
        f.write_str(if self.optional { "?" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written() {
        for text in ["/bin/sh", "/bin/sh=/usr/bin/busybox", "/dev/kvm?", "/a=/b?"] {
            let path = SandboxPath::parse(text).expect(text);
            assert_eq!(path.to_string(), text);
        }
        for text in ["", "?", "bin/sh", "/bin/sh=busybox", "=/bin/sh"] {
            assert_eq!(SandboxPath::parse(text), None, "{text}");
        }
    }
}
