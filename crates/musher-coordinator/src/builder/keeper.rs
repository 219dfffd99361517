//! What keeps the outputs of graphs on a machine with stock Nix: one connection
//! on which all of them are touched, for as long as any is wanted. A connection
//! for each, as the outputs of single builds have it, would be more than an ssh
//! server gives.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use musher_store::StoreError;
use nix_derivation::StorePath;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::debug;

/// A connection on which paths can be touched: until it closes the machine does
/// not collect them.
#[async_trait]
pub(crate) trait Touch: Send + 'static {
    /// Touches `paths`.
    async fn touch(&mut self, paths: &BTreeSet<StorePath>) -> Result<(), StoreError>;
}

/// The connection of one machine, while there is any.
pub(crate) struct Keeper<C> {
    kept: Mutex<Weak<Mutex<C>>>,
}

impl<C> Default for Keeper<C> {
    fn default() -> Self {
        Self {
            kept: Mutex::new(Weak::new()),
        }
    }
}

impl<C: Touch> Keeper<C> {
    /// Keeps `paths`, which were touched on `connection`, until what this returns
    /// is dropped. The connection is given back once another keeps them too; if
    /// there is none it becomes that one. Nobody waits for it.
    pub(crate) fn keep(
        self: &Arc<Self>,
        connection: C,
        paths: BTreeSet<StorePath>,
        give_back: impl FnOnce(C) + Send + 'static,
    ) -> JoinHandle<Arc<Mutex<C>>> {
        let keeper = self.clone();
        // The task's handle holds its result, and so the connection.
        tokio::spawn(async move { keeper.add(connection, &paths, give_back).await })
    }

    async fn add(
        &self,
        connection: C,
        paths: &BTreeSet<StorePath>,
        give_back: impl FnOnce(C),
    ) -> Arc<Mutex<C>> {
        let mut slot = self.kept.lock().await;
        if let Some(kept) = slot.upgrade() {
            match kept.lock().await.touch(paths).await {
                Ok(()) => {
                    give_back(connection);
                    return kept.clone();
                }
                Err(error) => {
                    let error = crate::error_text(&error);
                    debug!(error, "the connection that kept outputs is gone");
                }
            }
        }
        let kept = Arc::new(Mutex::new(connection));
        *slot = Arc::downgrade(&kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use musher_store::StoreError;
    use nix_derivation::StorePath;

    use super::{Keeper, Touch};
    use crate::testing::path;

    type Seen = Arc<Mutex<Vec<String>>>;

    /// A connection with a number, that says what becomes of it.
    struct Numbered(u32, Seen);

    impl Numbered {
        fn say(&self, what: &str) {
            let line = format!("{} {what}", self.0);
            self.1.lock().expect("no panic").push(line);
        }
    }

    #[async_trait]
    impl Touch for Numbered {
        async fn touch(&mut self, paths: &BTreeSet<StorePath>) -> Result<(), StoreError> {
            if self.0 == 3 {
                return Err(StoreError::Unsupported { what: "anything" });
            }
            for path in paths {
                self.say(&format!("touches {}", path.name()));
            }
            Ok(())
        }
    }

    impl Drop for Numbered {
        fn drop(&mut self) {
            self.say("closes");
        }
    }

    #[tokio::test]
    async fn one_connection_keeps_all_until_none_is_wanted() {
        let seen = Seen::default();
        let keeper = Keeper::default();
        let keep = async |number: u32, name: &str| {
            let given_back = seen.clone();
            let back = move |connection: Numbered| {
                connection.say("is given back");
                std::mem::forget(connection);
                drop(given_back);
            };
            let connection = Numbered(number, seen.clone());
            keeper.add(connection, &[path(name)].into(), back).await
        };
        let a = keep(1, "a").await;
        let b = keep(2, "b").await;
        drop(a);
        drop(b);
        let c = keep(3, "c").await;
        let d = keep(4, "d").await;
        drop(c);
        drop(d);
        let seen = seen.lock().expect("no panic").join("\n");
        expect_test::expect![[r#"
            1 touches b
            2 is given back
            1 closes
            3 closes
            4 closes"#]]
        .assert_eq(&seen);
    }
}
