use std::io::Write;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{ArrowWriter, ParquetRecordBatchStreamBuilder};
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::*;

fn rows() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..20_000).map(|n| (n % 7 != 0).then_some(n))));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..20_000).map(|n| format!("word {}", n % 900))));
    RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap()
}

fn file(rows: &RecordBatch, compression: Compression, version: WriterVersion) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_data_page_size_limit(16 << 10)
        .set_max_row_group_row_count(Some(8_000))
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    out
}

async fn read(bytes: Vec<u8>, limit: u64) -> Result<Vec<RecordBatch>> {
    let (store, path) = (Arc::new(InMemory::new()), object_store::path::Path::from("a.parquet"));
    let size = bytes.len() as u64;
    store.put(&path, PutPayload::from(bytes)).await.unwrap();
    let reader = BoundedPages::new(Box::new(ParquetObjectReader::new(store, path).with_file_size(size)), limit);
    ParquetRecordBatchStreamBuilder::new(reader).await?.build()?.try_collect().await
}

#[tokio::test]
async fn sound_files_of_every_codec_pass_whole() {
    let rows = rows();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(Default::default()),
            Compression::GZIP(Default::default()),
            Compression::LZ4_RAW,
        ] {
            let read = read(file(&rows, compression, version), 1 << 20).await.unwrap();
            assert_eq!(arrow::compute::concat_batches(&rows.schema(), &read).unwrap(), rows, "{compression:?}");
        }
    }
}

#[tokio::test]
async fn pages_that_take_more_room_than_there_is_are_refused() {
    let error = read(file(&rows(), Compression::SNAPPY, WriterVersion::PARQUET_1_0), 4 << 10).await.unwrap_err();
    assert!(error.to_string().contains("4096 are taken"), "{error}");
    // Each is small enough, and together they are not.
    let error = read(file(&rows(), Compression::SNAPPY, WriterVersion::PARQUET_1_0), 60 << 10).await.unwrap_err();
    assert!(error.to_string().contains("lie beside each other"), "{error}");
    let error = read(file(&rows(), Compression::LZ4, WriterVersion::PARQUET_1_0), 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("LZ4_RAW"), "{error}");
}

/// A page header of the first version that claims these lengths.
fn header(unpacked: i32, compressed: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let number = |head: u8, value: i32, out: &mut Vec<u8>| {
        out.push(head);
        let mut rest = (value << 1) ^ (value >> 31);
        loop {
            let low = (rest & 0x7f) as u8;
            rest = ((rest as u32) >> 7) as i32;
            out.push(if rest == 0 { low } else { low | 0x80 });
            if rest == 0 {
                break;
            }
        }
    };
    for (value, head) in [(0, 0x15), (unpacked, 0x15), (compressed, 0x15)] {
        number(head, value, &mut out);
    }
    out.push(0);
    out
}

fn gzip_of_zeros(length: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; length]).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_gzip_page_that_unpacks_to_more_than_it_says_is_refused() {
    let packed = gzip_of_zeros(50 << 20);
    let page = |says: i32| [header(says, packed.len() as i32), packed.clone()].concat();
    let honest = page(50 << 20);
    assert_eq!(largest_page(&honest, Codec::Gzip, UNPACKED_BYTES), Ok(50 << 20));
    let two = [page(50 << 20), page(1_000)].concat();
    let error = largest_page(&two, Codec::Gzip, UNPACKED_BYTES).unwrap_err();
    assert!(error.contains("more than the 1000 bytes it says"), "{error}");
}

#[test]
fn nonsense_is_no_header_and_ends() {
    for bytes in [&[0xff; 64][..], &[0x15], &[], &[0x19, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0x1c; 4096]]
    {
        assert_eq!(PageHeader::read(bytes), None);
    }
    let negative = header(-1, 10);
    assert_eq!(PageHeader::read(&negative), None);
    let good = header(70_000, 300);
    let whole = PageHeader { compressed: 300, unpacked: 70_000, levels: 0, is_packed: true };
    assert_eq!(PageHeader::read(&good), Some((whole, good.len())));
}
