//! `trusted-public-keys`: whose signatures make a stranger's paths acceptable.

use musher_store::local::TrustedPublicKey;

use super::error::ConfigError;
use super::section::Section;

const KEY: &str = "trusted-public-keys";
const PUBLIC_KEY: &str =
    "a public key, `NAME:BASE64`, as `nix key convert-secret-to-public` has it";

/// The one that Nix trusts unless it is told otherwise.
const DEFAULT: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

/// The keys in the configuration, if it has any.
pub(super) fn read(section: &Section<'_>) -> Result<Option<Vec<TrustedPublicKey>>, ConfigError> {
    let Some(entries) = section.strings(KEY)? else {
        return Ok(None);
    };
    let keys = entries.into_iter().map(|entry| {
        TrustedPublicKey::parse(entry.value)
            .map_err(|_| entry.bad_value(KEY, entry.value, PUBLIC_KEY))
    });
    keys.collect::<Result<_, _>>().map(Some)
}

/// The keys where the configuration says nothing.
pub(super) fn default() -> Vec<TrustedPublicKey> {
    TrustedPublicKey::parse(DEFAULT).into_iter().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_is_a_key() {
        assert_eq!(super::default().len(), 1);
    }
}
