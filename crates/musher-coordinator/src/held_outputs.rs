//! Outputs that lie on the machine that built them, until nobody wants them
//! any more. Knows no protocol.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use musher_protocol::types::PathInfo;
use musher_store::NarStream;
use nix_derivation::StorePath;
use tokio::runtime::Handle;

/// A NAR on its way that nobody will read is read to its end up to this size,
/// so that its connection can be used again; a larger one costs the connection.
const DRAINED: u64 = 256 << 10;

/// A NAR that was asked for together with the build.
struct Ahead {
    path: StorePath,
    nar_size: u64,
    nar: NarStream,
}

/// Keeps a build's outputs where they were built.
pub(crate) struct HeldOutputs {
    ahead: Mutex<Option<Ahead>>,
    /// What protects the outputs from the machine's garbage collector; let go
    /// when dropped. In a lock because connections cannot be shared.
    _root: Mutex<Box<dyn Any + Send>>,
}

impl HeldOutputs {
    /// Outputs whose NARs are read when they are wanted.
    pub(crate) fn rooted(root: impl Any + Send) -> Self {
        Self {
            ahead: Mutex::new(None),
            _root: Mutex::new(Box::new(root)),
        }
    }

    /// One output whose NAR is on its way.
    pub(crate) fn ahead(info: &PathInfo, nar: NarStream) -> Self {
        let ahead = Ahead {
            path: info.path.clone(),
            nar_size: info.nar_size,
            nar,
        };
        Self {
            ahead: Mutex::new(Some(ahead)),
            _root: Mutex::new(Box::new(())),
        }
    }

    /// The NAR of `path`, if it is on its way and was not taken before.
    pub(crate) fn take(&self, path: &StorePath) -> Option<NarStream> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead
            .take_if(|ahead| ahead.path == *path)
            .map(|ahead| ahead.nar)
    }
}

impl Drop for HeldOutputs {
    fn drop(&mut self) {
        let ahead = self
            .ahead
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut ahead) = ahead.filter(|ahead| ahead.nar_size <= DRAINED) {
            // Without a runtime the process ends, and the connection with it.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move { while let Some(Ok(_)) = ahead.nar.next().await {} });
            }
        }
    }
}

impl fmt::Debug for HeldOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldOutputs").finish_non_exhaustive()
    }
}
