//! Dead letters: a record a consumer gives up keeps its bytes and says why.

use contracts::headers as names;
use contracts::kafka::dead_letter_topic;
use uuid::Uuid;

use crate::consumer::RecordView;
use crate::producer::DataProducer;
use crate::{BusError, OpenLineage, Position, RecordHeaders};

const REASON_CODE: &str = "dlq-code";
const REASON: &str = "dlq-reason";
const SOURCE_TOPIC: &str = "dlq-topic";
const SOURCE_PARTITION: &str = "dlq-partition";
const SOURCE_OFFSET: &str = "dlq-offset";
const SERVICE: &str = "dlq-service";

/// Longest reason kept, in bytes.
const MAX_REASON: usize = 500;

/// Why a record was given up. Never the record's own content.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'a> {
    /// Stable and short, for counting.
    pub code: &'a str,
    pub detail: &'a str,
}

/// A record on its way to the dead letters.
#[derive(Debug)]
pub struct Letter<'a> {
    pub topic: &'a str,
    pub position: Position,
    pub key: &'a [u8],
    pub payload: &'a [u8],
    /// As the record carried them.
    pub headers: &'a [(String, Vec<u8>)],
}

/// A copy that outlives the client's buffer.
#[derive(Debug, Clone)]
pub(crate) struct OwnedLetter {
    pub position: Position,
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OwnedLetter {
    pub fn of(record: &RecordView<'_>) -> Self {
        Self {
            position: record.position(),
            key: record.key().to_vec(),
            payload: record.payload().to_vec(),
            headers: record.headers().map(|(k, v)| (k.to_owned(), v.to_vec())).collect(),
        }
    }

    pub fn as_letter<'a>(&'a self, topic: &'a str) -> Letter<'a> {
        Letter { topic, position: self.position, key: &self.key, payload: &self.payload, headers: &self.headers }
    }
}

pub(crate) async fn publish(
    producer: &DataProducer,
    service: &str,
    letter: Letter<'_>,
    reason: Reason<'_>,
) -> Result<(), BusError> {
    let text =
        |name: &str| letter.headers.iter().find(|(k, _)| k == name).and_then(|(_, v)| std::str::from_utf8(v).ok());
    // A record without lineage is poison too: then the giving up itself is the job.
    let lineage = OpenLineage::parse(text).unwrap_or_else(|_| {
        OpenLineage::now(
            "cytoplane",
            format!("dead-letter/{}", letter.topic),
            Uuid::now_v7(),
            format!("https://cytoplane.dev/{service}"),
        )
    });
    let mut headers = RecordHeaders::new(&lineage)
        .with(REASON_CODE, reason.code)
        .with(REASON, truncated(reason.detail))
        .with(SOURCE_TOPIC, letter.topic)
        .with(SOURCE_PARTITION, &letter.position.partition.to_string())
        .with(SOURCE_OFFSET, &letter.position.offset.to_string())
        .with(SERVICE, service);
    for name in [names::RECORD_TENANT, names::RECORD_STREAM, names::RECORD_SCHEMA_VERSION, names::REQUEST_ID] {
        if let Some(value) = text(name) {
            headers = headers.with(name, value);
        }
    }
    producer.send(&dead_letter_topic(letter.topic), letter.key, letter.payload, &headers).await.map(|_| ())
}

/// Cut at a character's boundary.
fn truncated(text: &str) -> &str {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(truncated("short"), "short");
        assert!(truncated(&"é".repeat(400)).len() <= MAX_REASON);
    }
}
