//! Looks at the messages of an Arrow stream before they are decoded.
//!
//! A compressed buffer states how long it will be, and the decoder takes that much memory at once,
//! whatever it is: a few bytes could end the process. So messages come uncompressed.

use arrow::ipc::{MessageHeader, root_as_message};

/// Longest description of a message: a schema, or where the buffers of a batch lie. Bytes.
const MAX_HEAD: usize = 4 << 20;
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Sees every byte before the decoder does.
#[derive(Debug, Default)]
pub struct Frames {
    /// The part of a message's prefix and head that has come so far.
    head: Vec<u8>,
    /// Bytes of the message's body still to come.
    body: u64,
    ended: bool,
}

impl Frames {
    /// Says why the stream must not be decoded any further.
    pub fn see(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() && !self.ended {
            if self.body > 0 {
                let skipped = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
                (bytes, self.body) = (&bytes[skipped..], self.body - skipped as u64);
                continue;
            }
            let missing = self.wanted()? - self.head.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(taken);
            bytes = rest;
            self.conclude()?;
        }
        Ok(())
    }

    /// Bytes before the message's size: the marker, which older writers leave out.
    fn marker(&self) -> usize {
        if self.head.starts_with(&CONTINUATION) { 4 } else { 0 }
    }

    /// Bytes of the message's size, once they are there.
    fn size(&self) -> Option<usize> {
        let field = self.head.get(self.marker()..self.marker() + 4)?;
        let size = u32::from_le_bytes(field.try_into().ok()?);
        usize::try_from(size).ok()
    }

    /// Length that `head` has to reach next.
    fn wanted(&self) -> Result<usize, &'static str> {
        match self.size() {
            None => Ok(self.marker() + 4),
            Some(size) if size > MAX_HEAD => Err("a message's description is too long"),
            Some(size) => Ok(self.marker() + 4 + size),
        }
    }

    /// Reads the message's description if it is complete.
    fn conclude(&mut self) -> Result<(), &'static str> {
        if self.head == CONTINUATION || self.head.len() < self.wanted()? {
            return Ok(());
        }
        let description = &self.head[self.marker() + 4..];
        if description.is_empty() {
            self.ended = true;
            return Ok(());
        }
        let message = root_as_message(description).map_err(|_| "a message's description is damaged")?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => None,
        };
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err("record batches come uncompressed");
        }
        self.body = u64::try_from(message.bodyLength()).map_err(|_| "a message's description is damaged")?;
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;

    fn stream(compression: Option<CompressionType>) -> Vec<u8> {
        let column = Arc::new(Int64Array::from(vec![7; 1000])) as _;
        let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn seen(bytes: &[u8], chunk: usize) -> Result<(), &'static str> {
        let mut frames = Frames::default();
        bytes.chunks(chunk).try_for_each(|part| frames.see(part))
    }

    #[test]
    fn plain_batches_pass_however_they_are_chunked() {
        let bytes = stream(None);
        for chunk in [1, 7, 64, 1000, bytes.len()] {
            assert_eq!(seen(&bytes, chunk), Ok(()), "{chunk}");
        }
    }

    #[test]
    fn compressed_batches_are_refused_however_they_are_chunked() {
        for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let bytes = stream(Some(compression));
            for chunk in [1, 7, 64, 1000, bytes.len()] {
                assert_eq!(seen(&bytes, chunk), Err("record batches come uncompressed"), "{chunk}");
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert!(seen(&[0xff; 64], 64).is_err());
        assert!(seen(&[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], 3).is_err());
    }
}
