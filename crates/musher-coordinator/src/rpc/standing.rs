//! Who makes a request, as the scheduler knows people. Knows not what is asked.

use tonic::Request;
use tonic::transport::server::UdsConnectInfo;

use crate::core::Standing;

/// What the request of a user of this host is worth.
pub(super) fn standing<T>(request: &Request<T>) -> Standing {
    let peer = request.extensions().get::<UdsConnectInfo>();
    let uid = peer.and_then(|peer| Some(peer.peer_cred?.uid()));
    match uid {
        Some(0) => Standing::usual("root"),
        Some(uid) => Standing::usual(format!("user {uid}").as_str()),
        None => Standing::usual("somebody"),
    }
}
