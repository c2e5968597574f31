//! Files that a tenant's own client wrote, before a library unpacks them.
//!
//! An Avro file of a few megabytes may unpack to any number of them, and the library reads a block as a
//! whole. So its blocks are unpacked here first, into nothing, and counted.

use std::io::Read;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::error::{Error, Result};

/// Longest manifest or manifest list that is read, bytes. Writers begin a new manifest at 8 MiB.
pub const MANIFEST_BYTES: u64 = 64 << 20;
/// What it may unpack to, bytes.
const UNPACKED_BYTES: u64 = 512 << 20;

const MAGIC: &[u8] = b"Obj\x01";
/// Between two blocks, and at the end of the header.
const SYNC_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// Refuses an Avro file whose blocks unpack to more than a manifest should, and one that is damaged.
pub fn check_avro(file: &[u8]) -> Result<()> {
    check_avro_within(file, UNPACKED_BYTES)
}

fn check_avro_within(file: &[u8], limit: u64) -> Result<()> {
    let mut rest = Bytes(file);
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(damaged());
    }
    let codec = codec(&mut rest)?;
    rest.take(SYNC_BYTES)?;
    let mut left = limit;
    while !rest.0.is_empty() {
        let (_rows, length) = (rest.long()?, rest.length()?);
        let block = rest.take(length)?;
        left = left.checked_sub(unpacked(codec, block, left)?).ok_or(Error::TooLong(limit))?;
        rest.take(SYNC_BYTES)?;
    }
    Ok(())
}

/// A library that dies of a file has refused it.
pub async fn surviving<T>(reading: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(reading).catch_unwind().await.map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::Schema("an Avro file is damaged".to_owned())
}

/// The header's map of names to bytes, of which only the codec matters.
fn codec(header: &mut Bytes<'_>) -> Result<Codec> {
    let mut codec = Codec::Null;
    loop {
        let mut pairs = header.long()?;
        if pairs == 0 {
            return Ok(codec);
        }
        if pairs < 0 {
            // The block's size follows, for readers that skip it.
            header.long()?;
            pairs = pairs.checked_neg().ok_or_else(damaged)?;
        }
        for _ in 0..pairs {
            let name_length = header.length()?;
            let name = header.take(name_length)?;
            let length = header.length()?;
            let value = header.take(length)?;
            if name == b"avro.codec" {
                codec = match value {
                    b"null" => Codec::Null,
                    b"deflate" => Codec::Deflate,
                    b"snappy" => Codec::Snappy,
                    b"zstandard" => Codec::Zstandard,
                    _ => return Err(Error::Unsupported("an Avro file of this compression")),
                };
            }
        }
    }
}

/// Bytes the block unpacks to; one more than `most` when there are more.
fn unpacked(codec: Codec, block: &[u8], most: u64) -> Result<u64> {
    let counted = |unpacking: &mut dyn Read| {
        std::io::copy(&mut unpacking.take(most + 1), &mut std::io::sink()).map_err(|_| damaged())
    };
    match codec {
        Codec::Null => Ok(block.len() as u64),
        Codec::Deflate => counted(&mut flate2::read::DeflateDecoder::new(block)),
        Codec::Zstandard => counted(&mut zstd::Decoder::new(block).map_err(|_| damaged())?),
        // It says so itself, and its reader believes it.
        Codec::Snappy => Bytes(block).varint(),
    }
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    /// Zigzag: the sign is in the lowest bit.
    fn long(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.long()?).map_err(|_| damaged())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn long(value: i64) -> Vec<u8> {
        let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
        let mut bytes = Vec::new();
        while left >= 0x80 {
            bytes.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    }

    fn file(codec: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
        let text = |text: &str| [long(text.len() as i64), text.as_bytes().to_vec()].concat();
        let mut file =
            [MAGIC.to_vec(), long(1), text("avro.codec"), text(codec), long(0), vec![7; SYNC_BYTES]].concat();
        for block in blocks {
            file.extend([long(1), long(block.len() as i64), block.clone(), vec![7; SYNC_BYTES]].concat());
        }
        file
    }

    fn deflated(zeros: usize) -> Vec<u8> {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![0; zeros]).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_is_refused_whatever_packed_it() {
        let packed = [
            ("null", vec![0; 1_000]),
            ("deflate", deflated(1_000)),
            ("zstandard", zstd::encode_all(&[0; 1_000][..], 3).unwrap()),
            ("snappy", [vec![0xe8, 0x07], vec![0; 40]].concat()),
        ];
        for (codec, block) in packed {
            let two = file(codec, &[block.clone(), block]);
            assert!(check_avro_within(&two, 2_000).is_ok(), "{codec}");
            assert!(matches!(check_avro_within(&two, 1_999), Err(Error::TooLong(1_999))), "{codec}");
        }
        assert!(matches!(check_avro(&file("xz", &[])), Err(Error::Unsupported(_))));
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_it_ends() {
        let whole = file("deflate", &[deflated(300)]);
        assert!(check_avro(&whole).is_ok());
        // Where the header ends a file without blocks is whole, too.
        let header = file("deflate", &[]).len();
        for end in (0..whole.len()).filter(|end| *end != header) {
            assert!(check_avro(&whole[..end]).is_err(), "{end} bytes");
        }
    }
}
