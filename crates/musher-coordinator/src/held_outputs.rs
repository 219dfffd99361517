//! Outputs that lie on the machine that built them, until nobody wants them
//! any more. Knows no protocol.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use musher_protocol::types::PathInfo;
use musher_store::NarStream;
use nix_derivation::StorePath;
use tokio::runtime::Handle;

/// A NAR on its way that nobody will read is read to its end up to this size,
/// so that its connection can be used again; a larger one costs the connection.
const DRAINED: u64 = 256 << 10;

/// A NAR that was asked for before anybody wanted it.
struct Ahead {
    path: StorePath,
    nar_size: u64,
    nar: NarStream,
}

/// Keeps a build's outputs where they were built.
pub(crate) struct HeldOutputs {
    ahead: Mutex<Vec<Ahead>>,
    /// What protects the outputs from the machine's garbage collector; let go
    /// when dropped. In a lock because connections cannot be shared.
    _root: Mutex<Box<dyn Any + Send>>,
}

impl HeldOutputs {
    /// Outputs whose NARs are read when they are wanted.
    pub(crate) fn rooted(root: impl Any + Send) -> Self {
        Self {
            ahead: Mutex::default(),
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
            ahead: Mutex::new(vec![ahead]),
            _root: Mutex::new(Box::new(())),
        }
    }

    /// One output whose NAR is on its way, and what protects it.
    pub(crate) fn ahead_and_rooted(info: &PathInfo, nar: NarStream, root: impl Any + Send) -> Self {
        let mut held = Self::ahead(info, nar);
        held._root = Mutex::new(Box::new(root));
        held
    }

    /// The NAR of one more of them is on its way, too.
    pub(crate) fn put(&self, info: &PathInfo, nar: NarStream) {
        self.lock().push(Ahead {
            path: info.path.clone(),
            nar_size: info.nar_size,
            nar,
        });
    }

    /// The NAR of `path`, if it is on its way and was not taken before.
    pub(crate) fn take(&self, path: &StorePath) -> Option<NarStream> {
        let mut ahead = self.lock();
        let at = ahead.iter().position(|ahead| ahead.path == *path)?;
        Some(ahead.swap_remove(at).nar)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldOutputs {
    fn drop(&mut self) {
        let ahead = self.ahead.get_mut().unwrap_or_else(PoisonError::into_inner);
        for mut ahead in ahead.drain(..).filter(|ahead| ahead.nar_size <= DRAINED) {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use tokio::sync::oneshot;

    use super::{DRAINED, HeldOutputs};
    use crate::testing::info;

    /// Whether a NAR of `nar_size` bytes is read to its end when nobody wants
    /// it.
    async fn is_drained(nar_size: u64) -> bool {
        let (at_end, ended) = oneshot::channel();
        let chunk = stream::iter([Ok(Bytes::from_static(b"some"))]);
        let last = stream::once(async move {
            let _ = at_end.send(());
            Ok(Bytes::new())
        });
        let mut info = info("app", &[]);
        info.nar_size = nar_size;
        drop(HeldOutputs::ahead(&info, Box::pin(chunk.chain(last))));
        // An error says that the stream was dropped first.
        ended.await.is_ok()
    }

    #[tokio::test]
    async fn only_a_small_nar_that_nobody_wants_is_read_to_its_end() {
        assert!(is_drained(DRAINED).await);
        assert!(!is_drained(DRAINED + 1).await);
    }

    #[test]
    fn outputs_can_be_let_go_when_all_is_over() {
        let nar = Box::pin(stream::iter([Ok(Bytes::new())]));
        drop(HeldOutputs::ahead(&info("app", &[]), nar));
    }
}
