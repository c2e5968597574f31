//! Parquet pages that would unpack to more than there is room for are refused before anything unpacks them.
//!
//! A file says of each page how long it is unpacked. The codecs that the Parquet library has for Snappy, Zstandard and raw
//! LZ4 write no more than that; the one for Gzip writes whatever comes, so its pages are unpacked here once, into
//! nothing. Brotli and LZO are not built in. Hadoop's framing of LZ4, deprecated by the format, is refused.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::page_header::PageHeader;

/// Bytes that one page of every column of a row group may take together, unpacked.
pub const UNPACKED_BYTES: u64 = 512 << 20;

/// A reader of one file whose pages are looked at before they are handed on.
pub struct BoundedPages {
    inner: Box<dyn AsyncFileReader + Send>,
    limit: u64,
    /// In the order of their bytes; known once the footer was read.
    chunks: Option<Vec<Chunk>>,
}

/// Where a column's pages of one row group lie.
#[derive(Debug)]
struct Chunk {
    bytes: Range<u64>,
    codec: Codec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// Writes no more than a page says.
    Bounded,
    Gzip,
    Refused,
}

impl Codec {
    fn of(compression: Compression) -> Self {
        match compression {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => {
                Self::Bounded
            }
            Compression::GZIP(_) => Self::Gzip,
            Compression::LZ4 | Compression::BROTLI(_) | Compression::LZO => Self::Refused,
        }
    }
}

impl BoundedPages {
    pub fn new(inner: Box<dyn AsyncFileReader + Send>, limit: u64) -> Self {
        Self { inner, limit, chunks: None }
    }

    /// Refuses pages that take too much room. Ranges of other parts of the file pass.
    fn check(&self, ranges: &[Range<u64>], read: &[Bytes]) -> Result<()> {
        let chunks = self.chunks.as_deref().unwrap_or_default();
        let mut largest: HashMap<u64, u64> = HashMap::new();
        for (range, bytes) in ranges.iter().zip(read) {
            let before = chunks.partition_point(|chunk| chunk.bytes.start <= range.start);
            let chunk = before.checked_sub(1).and_then(|last| chunks.get(last));
            let Some(chunk) = chunk.filter(|chunk| chunk.bytes.contains(&range.start)) else { continue };
            let page = largest_page(bytes, chunk.codec, self.limit).map_err(unsound)?;
            let known = largest.entry(chunk.bytes.start).or_default();
            *known = page.max(*known);
        }
        let all = largest.values().sum::<u64>();
        match all > self.limit {
            true => {
                Err(unsound(format!("pages of {all} bytes, unpacked, lie beside each other; {} are taken", self.limit)))
            }
            false => Ok(()),
        }
    }
}

fn unsound(reason: String) -> ParquetError {
    ParquetError::General(reason)
}

impl AsyncFileReader for BoundedPages {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let bytes = self.inner.get_bytes(range.clone()).await?;
            self.check(&[range], std::slice::from_ref(&bytes))?;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let read = self.inner.get_byte_ranges(ranges.clone()).await?;
            self.check(&ranges, &read)?;
            Ok(read)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let metadata = self.inner.get_metadata(options).await?;
            self.chunks = Some(chunks(&metadata).map_err(unsound)?);
            Ok(metadata)
        }
        .boxed()
    }
}

/// All chunks with bytes, in order. A page belongs to one column: what it is packed with is certain.
fn chunks(metadata: &ParquetMetaData) -> std::result::Result<Vec<Chunk>, String> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let chunk = |column: &ColumnChunkMetaData| {
        let (start, length) = column.byte_range();
        Chunk { bytes: start..start.saturating_add(length), codec: Codec::of(column.compression()) }
    };
    let mut chunks: Vec<Chunk> = columns.map(chunk).filter(|chunk| !chunk.bytes.is_empty()).collect();
    chunks.sort_unstable_by_key(|chunk| chunk.bytes.start);
    match chunks.windows(2).any(|pair| matches!(pair, [one, next] if one.bytes.end > next.bytes.start)) {
        true => Err("two columns lie in the same bytes".to_owned()),
        false => Ok(chunks),
    }
}

/// Bytes of the largest page, unpacked, of those that follow each other in `bytes`; or what is wrong with one.
fn largest_page(bytes: &[u8], codec: Codec, limit: u64) -> std::result::Result<u64, String> {
    if codec == Codec::Refused {
        return Err("its codec is not taken: write Snappy, Zstandard, Gzip or LZ4_RAW".to_owned());
    }
    let (mut rest, mut largest) = (bytes, 0);
    while !rest.is_empty() {
        let (header, length) = PageHeader::read(rest).ok_or("a page has no sound header")?;
        rest = rest.get(length..).unwrap_or_default();
        let (page, after) = rest.split_at(header.compressed.min(rest.len()));
        if header.unpacked as u64 > limit {
            return Err(format!("a page of {} bytes, unpacked; {limit} are taken", header.unpacked));
        }
        if codec == Codec::Gzip && header.is_packed {
            let packed = page.get(header.levels..).unwrap_or_default();
            let most = header.unpacked.saturating_sub(header.levels);
            if inflates_beyond(packed, most as u64) {
                return Err(format!("a page unpacks to more than the {} bytes it says", header.unpacked));
            }
        }
        largest = largest.max(header.unpacked as u64);
        rest = after;
    }
    Ok(largest)
}

/// What cannot be unpacked is left to the library, which says what is wrong with it.
fn inflates_beyond(packed: &[u8], most: u64) -> bool {
    let mut unpacked = MultiGzDecoder::new(packed).take(most + 1);
    std::io::copy(&mut unpacked, &mut std::io::sink()).is_ok_and(|length| length > most)
}

#[cfg(test)]
#[path = "tests/pages.rs"]
mod tests;
