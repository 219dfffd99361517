//! Every message of the serve protocol, in every version, comes out as it went
//! in, but for what the version has no room for.

use musher_protocol::serve::{BuildOptions, Request, Response, Version};
use musher_protocol::types::{BuildResult, BuiltOutput};
use musher_protocol::wire::{Encoder, decode};
use nix_derivation::StoreDir;
use proptest::prelude::{prop_assert_eq, proptest};

use crate::exchanges::{exchange, version};

/// What `version` lets through of a request.
pub(crate) fn request_at(version: Version, request: &Request) -> Request {
    let options_at = |options: &BuildOptions| BuildOptions {
        keep_failed: options.keep_failed && version >= Version::new(7),
        ..*options
    };
    let mut request = request.clone();
    if let Request::BuildPaths { options, .. } | Request::BuildDerivation { options, .. } =
        &mut request
    {
        *options = options_at(options);
    }
    request
}

/// What `version` lets through of an answer.
pub(crate) fn response_at(version: Version, response: &Response) -> Response {
    let mut response = response.clone();
    if let Response::Built(result) = &mut response {
        *result = BuildResult {
            cpu_user: None,
            cpu_system: None,
            ..result.clone()
        };
        if version < Version::new(6) {
            result.built_outputs.clear();
        }
        if version >= Version::new(8) {
            for output in result.built_outputs.values_mut() {
                *output = BuiltOutput {
                    drv_hash: None,
                    dependent_realisations: Default::default(),
                    ..output.clone()
                };
            }
        }
    }
    response
}

proptest! {
    #[test]
    fn requests_round_trip(exchange in exchange(), version in version()) {
        let mut e = Encoder::new(StoreDir::default());
        exchange.request.encode(&mut e, version);
        let request = decode(&e.take(), &StoreDir::default(), async |d| {
            Request::decode(d, version).await
        });
        prop_assert_eq!(request.unwrap(), request_at(version, &exchange.request));
    }

    #[test]
    fn responses_round_trip(exchange in exchange(), version in version()) {
        let command = exchange.request.command();
        prop_assert_eq!(exchange.response.command(), command);
        let mut e = Encoder::new(StoreDir::default());
        exchange.response.encode(&mut e, version);
        let response = decode(&e.take(), &StoreDir::default(), async |d| {
            Response::decode(d, version, command).await
        });
        prop_assert_eq!(response.unwrap(), response_at(version, &exchange.response));
    }

    #[test]
    fn the_store_directory_is_a_parameter(exchange in exchange(), version in version()) {
        let elsewhere = StoreDir::new("/home/me/store").unwrap();
        let mut e = Encoder::new(elsewhere.clone());
        exchange.request.encode(&mut e, version);
        let request = decode(&e.take(), &elsewhere, async |d| Request::decode(d, version).await);
        prop_assert_eq!(request.unwrap(), request_at(version, &exchange.request));
    }
}
