//! A record as it lies in the client's buffer.

use rdkafka::message::{BorrowedMessage, Headers, Message};

/// Where a record lies. `topic` is a declared topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// Borrowed from the client's buffer: copy out what has to outlive the visit.
pub struct RecordView<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> RecordView<'a> {
    pub(crate) fn new(message: &'a BorrowedMessage<'a>) -> Self {
        Self { message }
    }

    pub fn position(&self) -> Position {
        Position { partition: self.message.partition(), offset: self.message.offset() }
    }

    pub fn key(&self) -> &'a [u8] {
        self.message.key().unwrap_or_default()
    }

    pub fn payload(&self) -> &'a [u8] {
        self.message.payload().unwrap_or_default()
    }

    /// Milliseconds since the epoch: when the producer made the record, if it said so.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp().to_millis()
    }

    /// Name and value of each header, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + Clone {
        let headers = self.message.headers();
        let count = headers.map_or(0, Headers::count);
        (0..count).filter_map(move |at| {
            let header = headers?.get(at);
            Some((header.key, header.value.unwrap_or_default()))
        })
    }

    /// First header of that name, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(key, _)| *key == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}
