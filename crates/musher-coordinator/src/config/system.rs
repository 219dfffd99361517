//! Nix's name for the system this program runs on.

/// The host's system in Nix's words, like `x86_64-linux`.
pub fn host_system() -> String {
    nix_system(std::env::consts::ARCH, std::env::consts::OS)
}

/// Nix and Rust differ in a few names.
fn nix_system(arch: &str, os: &str) -> String {
    let arch = match arch {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "powerpc64le",
        other => other,
    };
    let os = match os {
        "macos" => "darwin",
        other => other,
    };
    format!("{arch}-{os}")
}

#[cfg(test)]
mod tests {
    use super::nix_system;

    #[test]
    fn systems_are_named_as_in_nix() {
        assert_eq!(nix_system("x86_64", "linux"), "x86_64-linux");
        assert_eq!(nix_system("aarch64", "macos"), "aarch64-darwin");
        assert_eq!(nix_system("x86", "linux"), "i686-linux");
    }
}
