//! From a derivation's name to that of its package.

/// The name of the package that a derivation called `name` belongs to: what
/// comes before the version, which Nix takes to begin after the first dash that
/// no letter follows. `hello-2.12.1` and `hello-2.12.2` are `hello`.
pub fn package_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    let version = bytes
        .windows(2)
        .position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic());
    // A dash is a character of its own, so the name is cut at no other's middle.
    version.map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn versions_are_cut_where_nix_cuts_them() {
        let check = |name, package| assert_eq!(package_name(name), package, "{name}");
        check("hello-2.12.1", "hello");
        check("gcc-wrapper-13.2.0-man", "gcc-wrapper");
        check("python3.11-requests-2.31.0", "python3.11-requests");
        check("stdenv-linux", "stdenv-linux");
        check("source", "source");
        check("lib-", "lib-");
        check("a--b", "a");
        check("-1", "");
        check("font-überall-1", "font");
        check("", "");
    }
}
