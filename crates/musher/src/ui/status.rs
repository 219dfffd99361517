//! How builds end, in Nix's words.

use musher_protocol::types::BuildStatus;

fn known(number: u32) -> Option<BuildStatus> {
    (BuildStatus::ALL.into_iter()).find(|status| *status as u32 == number)
}

/// `permanent-failure` for Nix's number of it; a number of no status as it is.
pub(crate) fn words(number: u32) -> String {
    let Some(known) = known(number) else {
        return number.to_string();
    };
    let mut words = String::new();
    for letter in format!("{known:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// Whether the outputs are there then.
pub(crate) fn is_success(number: u32) -> bool {
    known(number).is_some_and(BuildStatus::is_success)
}

#[cfg(test)]
mod tests {
    use super::{is_success, words};

    #[test]
    fn a_status_reads_as_words() {
        assert_eq!(words(0), "built");
        assert_eq!(words(3), "permanent-failure");
        assert_eq!(words(13), "resolves-to-already-valid");
        assert_eq!(words(99), "99");
        assert!(is_success(0) && is_success(13) && !is_success(3) && !is_success(99));
    }
}
