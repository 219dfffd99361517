//! Finds out by its first bytes how a file is compressed, and reads what is in
//! it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// The most memory that decompressing may take.
const XZ_MEMORY: u64 = 1 << 30;
const BUFFER: usize = 64 << 10;

/// What is in `file`, decompressed if it is compressed.
pub(super) fn reader(mut file: File) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.rewind()?;
    let file = BufReader::with_capacity(BUFFER, file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [b'B', b'Z', b'h', ..] => Box::new(MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(xz_reader(file)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// What is in `file`, which is in the format of `xz`.
pub(in crate::builtin) fn xz_reader<R: BufRead>(file: R) -> io::Result<XzDecoder<R>> {
    let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
    Ok(XzDecoder::new_stream(file, stream))
}
