//! The gRPC services between Musher's processes, generated from `proto/`.
//! Holds no logic: [`convert`] maps messages to values, field by field.

pub mod convert;
pub mod features;
pub mod limits;
mod version;

pub use generated::coordinator::v1 as coordinator;
pub use generated::worker::v1 as worker;
pub use version::{NoCommonVersion, Versions};

/// As the packages nest: messages of one refer to those of the other by that.
mod generated {
    pub(crate) mod coordinator {
        /// What the coordinator is asked, over `control.sock`.
        pub mod v1 {
            #![expect(
                missing_docs,
                unused_qualifications,
                reason = "generated; the words are in the .proto file"
            )]

            tonic::include_proto!("musher.coordinator.v1");
        }
    }

    pub(crate) mod worker {
        /// What the worker on a machine is asked.
        pub mod v1 {
            #![expect(
                missing_docs,
                clippy::large_enum_variant,
                unused_qualifications,
                reason = "generated; the words are in the .proto file"
            )]

            tonic::include_proto!("musher.worker.v1");
        }
    }
}
