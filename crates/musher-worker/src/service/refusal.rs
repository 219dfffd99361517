//! What a caller is told that cannot have what it asked for. Knows nothing of
//! what was asked.

use std::error::Error;

use musher_store::local::{ErrorClass, LocalError};
use tonic::Status;

use super::attempts::Refusal;

/// A caller that does not keep to the protocol.
pub(super) fn broken(found: &str) -> Status {
    Status::invalid_argument(format!("the caller does not keep to the protocol: {found}"))
}

pub(super) fn refused(refusal: Refusal) -> Status {
    let text = error_text(&refusal);
    match refusal {
        Refusal::Older { .. } => Status::failed_precondition(text),
        Refusal::Unknown { .. } => Status::not_found(text),
        Refusal::Retiring => Status::unavailable(text),
        Refusal::Store(error) => refused_by_store(&error),
    }
}

pub(super) fn refused_by_store(error: &LocalError) -> Status {
    let text = error_text(error);
    match error.class() {
        ErrorClass::User => Status::invalid_argument(text),
        // This wakes the garbage collector, which helps against nothing else.
        ErrorClass::Environment if error.is_disk_full() => Status::resource_exhausted(text),
        ErrorClass::Environment => Status::aborted(text),
        ErrorClass::Corrupt => Status::data_loss(text),
    }
}

/// An error with all its causes in one line.
pub(crate) fn error_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Transparent errors repeat the text of their source.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;
    use tonic::Code;

    use super::*;

    #[test]
    fn only_a_full_disk_is_told_as_one() {
        let code = |errno: Errno| {
            let error = LocalError::Io {
                attempt: "write",
                path: "/x".into(),
                source: io::Error::from(errno),
            };
            refused_by_store(&error).code()
        };
        assert_eq!(code(Errno::NOSPC), Code::ResourceExhausted);
        assert_eq!(code(Errno::DQUOT), Code::ResourceExhausted);
        assert_eq!(code(Errno::MFILE), Code::Aborted);
        assert_eq!(code(Errno::ACCESS), Code::Aborted);
    }
}
