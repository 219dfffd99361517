//! Archives, good and bad, and what becomes of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::super::{Builtin, BuiltinError, BuiltinOrder, Hosted};

/// A directory with an archive in it, and a place for what is unpacked.
struct Channel {
    scratch: TempDir,
}

impl Channel {
    fn new(archive: &[u8]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("archive"), archive).unwrap();
        Self { scratch }
    }

    fn out(&self) -> PathBuf {
        self.scratch.path().join("inner/out")
    }

    fn unpack(&self, name: &str) -> Result<(), BuiltinError> {
        let archive = self.scratch.path().join("archive");
        let env = [("src", archive.to_str().unwrap()), ("channelName", name)];
        let order = BuiltinOrder {
            env: env
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .into(),
            outputs: [("out".to_owned(), self.out())].into(),
            fetches: false,
            hosted: Hosted::default(),
        };
        Builtin::UnpackChannel.run(&order, &mut Vec::new())
    }

    /// The error's text, with the archive's directory left out.
    fn error(&self) -> String {
        let error = self.unpack("channel").unwrap_err().to_string();
        let scratch = self.scratch.path().to_str().unwrap();
        error.replace(&format!("{scratch}/"), "")
    }
}

/// `(type, name, link or contents)`.
type Member = (EntryType, &'static str, &'static str);

/// An archive as nobody honest makes it: names are written as they are.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, text) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let data = if is_link { "" } else { text };
        if is_link {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

const SAMPLE: &[Member] = &[
    (
        EntryType::XGlobalHeader,
        "pax_global_header",
        "13 comment=x\n",
    ),
    (EntryType::Directory, "./top/", ""),
    (EntryType::Regular, "./top/file", "contents"),
    (EntryType::Symlink, "./top/link", "file"),
    (EntryType::Link, "top/hard", "./top/file"),
    (
        EntryType::Regular,
        "/top/new/deep",
        "no directory of its own",
    ),
    (EntryType::Regular, "top/file", "contents again"),
];

fn check_sample(channel: &Channel) {
    channel.unpack("channel").unwrap();
    let top = channel.out().join("channel");
    assert_eq!(fs::read(top.join("file")).unwrap(), b"contents again");
    assert_eq!(fs::read(top.join("hard")).unwrap(), b"contents");
    assert_eq!(
        fs::read_link(top.join("link")).unwrap().to_str(),
        Some("file")
    );
    assert!(top.join("new/deep").is_file());
    let mode = fs::metadata(top.join("file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn an_archive_becomes_a_directory_of_the_given_name() {
    check_sample(&Channel::new(&archive(SAMPLE)));
}

#[test]
fn compression_is_found_by_the_first_bytes() {
    let tar = archive(SAMPLE);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    check_sample(&Channel::new(&gz.finish().unwrap()));
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(&tar).unwrap();
    check_sample(&Channel::new(&bz2.finish().unwrap()));
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    check_sample(&Channel::new(&xz.finish().unwrap()));
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    check_sample(&Channel::new(&zstd));
}

#[track_caller]
fn refused(members: &[Member], expected: Expect) {
    let channel = Channel::new(&archive(members));
    expected.assert_eq(&channel.error());
    // Whatever it tried, beside the archive is what was there before.
    let beside = fs::read_dir(channel.scratch.path()).unwrap().count();
    assert_eq!(beside, 2);
    let inner = fs::read_dir(channel.scratch.path().join("inner")).unwrap();
    assert_eq!(inner.count(), 1);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    refused(
        &[(EntryType::Regular, "top/../../escaped", "x")],
        expect!["member 'top/../../escaped' of archive 'archive' leads out of its directory"],
    );
    refused(
        &[(EntryType::Link, "top/hard", "../../archive")],
        expect!["member 'top/hard' of archive 'archive' leads out of its directory"],
    );
    refused(
        &[
            (EntryType::Symlink, "top/up", "../.."),
            (EntryType::Regular, "top/up/escaped", "x"),
        ],
        expect!["member 'top/up/escaped' of archive 'archive' leads through a symbolic link"],
    );
    refused(
        &[
            (EntryType::Symlink, "top", ".."),
            (EntryType::Directory, "top", ""),
        ],
        expect!["member 'top' of archive 'archive' leads through a symbolic link"],
    );
    refused(
        &[(EntryType::Fifo, "top/pipe", "")],
        expect!["member 'top/pipe' of archive 'archive' is of a kind that is not unpacked (Fifo)"],
    );
    refused(
        &[(EntryType::Regular, ".", "x")],
        expect!["member '.' of archive 'archive' has no name"],
    );
}

#[test]
fn a_file_replaces_a_link_and_does_not_follow_it() {
    let channel = Channel::new(&archive(&[
        (EntryType::Symlink, "top/file", "../../../archive"),
        (EntryType::Regular, "top/file", "x"),
    ]));
    let before = fs::read(channel.scratch.path().join("archive")).unwrap();
    channel.unpack("channel").unwrap();
    assert_eq!(fs::read(channel.out().join("channel/file")).unwrap(), b"x");
    let after = fs::read(channel.scratch.path().join("archive")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn it_holds_exactly_one_thing() {
    refused(&[], expect!["channel tarball 'archive' is empty"]);
    refused(
        &[(EntryType::Regular, "a", ""), (EntryType::Regular, "b", "")],
        expect!["channel tarball 'archive' contains more than one file"],
    );
}

#[test]
fn the_name_is_one_of_a_file() {
    for name in ["", ".", "..", "a/b", "/a"] {
        let channel = Channel::new(&archive(SAMPLE));
        let error = channel.unpack(name).unwrap_err();
        assert!(
            matches!(error, BuiltinError::BadAttribute { .. }),
            "{name}: {error}"
        );
    }
}

proptest! {
    /// However an archive is damaged, it is unpacked or refused, and nothing
    /// is made beside the place it is unpacked to.
    #[test]
    fn damage_reaches_nothing(places in vec((any::<u16>(), any::<u8>()), 1..6), cut in any::<u16>()) {
        let mut tar = archive(SAMPLE);
        for (place, byte) in places {
            let place = usize::from(place) % tar.len();
            tar[place] = byte;
        }
        tar.truncate(tar.len() - usize::from(cut) % tar.len());
        let channel = Channel::new(&tar);
        let _ = channel.unpack("channel");
        assert_eq!(fs::read_dir(channel.scratch.path()).unwrap().count(), 2);
    }
}
