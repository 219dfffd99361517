//! The gRPC services between Musher's processes, generated from `proto/`.
//! Holds no logic: [`convert`] maps messages to values, field by field.

pub mod convert;

/// What the coordinator is asked, over `control.sock`.
pub mod coordinator {
    #![expect(
        missing_docs,
        unused_qualifications,
        reason = "generated; the words are in the .proto file"
    )]

    tonic::include_proto!("musher.coordinator.v1");
}
