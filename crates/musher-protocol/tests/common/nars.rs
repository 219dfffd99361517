//! Small NARs to send about.

/// The NAR of a file that holds `content`.
pub(crate) fn file(content: &[u8]) -> Vec<u8> {
    words(&[
        b"nix-archive-1",
        b"(",
        b"type",
        b"regular",
        b"contents",
        content,
        b")",
    ])
}

/// The NAR of a directory that holds one file.
pub(crate) fn directory(name: &[u8], content: &[u8]) -> Vec<u8> {
    words(&[
        b"nix-archive-1",
        b"(",
        b"type",
        b"directory",
        b"entry",
        b"(",
        b"name",
        name,
        b"node",
        b"(",
        b"type",
        b"regular",
        b"executable",
        b"",
        b"contents",
        content,
        b")",
        b")",
        b")",
    ])
}

fn words(words: &[&[u8]]) -> Vec<u8> {
    let mut nar = Vec::new();
    for word in words {
        nar.extend_from_slice(&(word.len() as u64).to_le_bytes());
        nar.extend_from_slice(word);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}
