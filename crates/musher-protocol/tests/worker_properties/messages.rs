//! Every message comes out as it went in, in every dialect that has it.

use musher_protocol::wire::{DecodeError, Decoder, Encoder, decode};
use musher_protocol::worker::{Dialect, RemoteError, Request, Response};
use nix_derivation::StoreDir;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

use crate::{carried, strategies};

fn store_dir() -> StoreDir {
    StoreDir::new("/some/other/store").unwrap()
}

fn there_and_back<T>(
    encode: impl FnOnce(&mut Encoder),
    decoder: impl AsyncFnOnce(&mut Decoder) -> Result<T, DecodeError>,
) -> T {
    let mut encoder = Encoder::new(store_dir());
    encode(&mut encoder);
    decode(&encoder.take(), &store_dir(), decoder).unwrap()
}

/// A dialect, a request of it, and an answer to that.
fn exchange() -> impl Strategy<Value = (Dialect, Request, Response)> {
    (strategies::dialect(), strategies::request())
        .prop_filter("the dialect can say it", |(dialect, request)| {
            request.check(dialect).is_ok()
        })
        .prop_flat_map(|(dialect, request)| {
            let response = strategies::response(request.op(), &dialect);
            response.prop_map(move |response| (dialect.clone(), request.clone(), response))
        })
}

proptest! {
    #[test]
    fn requests(dialect in strategies::dialect(), request in strategies::request()) {
        let mut encoder = Encoder::new(store_dir());
        let encoded = request.encode(&dialect, &mut encoder);
        prop_assert_eq!(&encoded, &request.check(&dialect));
        let bytes = encoder.take();
        if encoded.is_err() {
            prop_assert!(bytes.is_empty());
        } else {
            let decoded = decode(&bytes, &store_dir(), async |d| {
                Request::decode(&dialect, d).await
            });
            prop_assert_eq!(decoded, Ok(carried::request(request, &dialect)));
        }
    }

    #[test]
    fn responses((dialect, request, response) in exchange()) {
        let asked = request.asked();
        // An opaque derivation means its outputs there.
        if matches!(response, Response::KeyedBuildResults(_)) && !dialect.has(30) {
            return Ok(());
        }
        prop_assert!(response.answers(&asked, &dialect));
        let decoded = there_and_back(
            |e| response.encode(&asked, &dialect, e),
            async |d| Response::decode(&asked, &dialect, d).await,
        );
        prop_assert_eq!(decoded, carried::response(response, &request, &dialect));
    }

    #[test]
    fn errors(dialect in strategies::dialect(), error in strategies::remote_error()) {
        let decoded = there_and_back(
            |e| error.encode(&dialect, e),
            async |d| RemoteError::decode(&dialect, d).await,
        );
        prop_assert_eq!(decoded, carried::remote_error(error, &dialect));
    }
}
