//! The open requests: who asks, and when each may be over. To find that out
//! costs as much as a request has builds, so it is done now and then.

use std::collections::BTreeMap;

use musher_scheduler::{Outlook, OwnerId, RequestId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Core;

/// How far a request is, as it was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Expected {
    /// How far.
    pub(crate) outlook: Outlook,
    /// When that was found.
    pub(crate) at: Instant,
}

/// Where a request is told how far it is.
pub(crate) type OutlookSender = watch::Sender<Option<Expected>>;

struct Open {
    owner: OwnerId,
    last: Option<Expected>,
    sender: Option<OutlookSender>,
}

/// The open requests.
#[derive(Default)]
pub(super) struct Outlooks(BTreeMap<RequestId, Open>);

/// An open request.
pub(crate) struct RequestView {
    pub(crate) id: RequestId,
    pub(crate) owner: OwnerId,
    /// None for one that has just come.
    pub(crate) expected: Option<Expected>,
}

impl Outlooks {
    pub(super) fn open(&mut self, request: RequestId, owner: OwnerId) {
        let open = self.0.entry(request).or_insert_with(|| Open {
            owner: owner.clone(),
            last: None,
            sender: None,
        });
        open.owner = owner;
    }

    pub(super) fn close(&mut self, request: RequestId) {
        self.0.remove(&request);
    }

    /// Tells `sender` from now on.
    pub(super) fn tell(&mut self, request: RequestId, sender: OutlookSender) {
        if let Some(open) = self.0.get_mut(&request) {
            open.sender = Some(sender);
        }
    }

    /// The open requests, the oldest first.
    pub(super) fn view(&self) -> Vec<RequestView> {
        let view = |(id, open): (&RequestId, &Open)| RequestView {
            id: *id,
            owner: open.owner.clone(),
            expected: open.last,
        };
        self.0.iter().map(view).collect()
    }
}

impl Core {
    /// Finds out how far each request is.
    pub(super) fn refresh_outlooks(&mut self) {
        let now = self.now();
        for (request, open) in &mut self.outlooks.0 {
            let outlook = self.scheduler.outlook(now, *request);
            let at = Instant::now();
            open.last = outlook.map(|outlook| Expected { outlook, at });
            if let Some(sender) = &open.sender {
                sender.send_if_modified(|known| {
                    let is_new = known.map(|it| it.outlook) != outlook;
                    if is_new {
                        *known = open.last;
                    }
                    is_new
                });
            }
        }
    }
}
