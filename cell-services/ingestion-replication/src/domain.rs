//! What the sink decides, without doing it: which rows are kept, what a table has covered.

pub mod due;
pub mod progress;
pub mod round;

use serde::{Deserialize, Serialize};

/// Namespace of streams' tables in a tenant's catalog.
pub const NAMESPACE: &str = "streams";
/// Columns the sink adds: with them anybody can audit that no row is missing and none is twice.
pub const PARTITION_COLUMN: &str = "_cyto_partition";
pub const OFFSET_COLUMN: &str = "_cyto_offset";
/// Table property with the stream's id: a table belongs to one stream for ever.
pub const STREAM_PROPERTY: &str = "cytoplane.stream";
/// Table property and snapshot summary entry with the table's progress.
pub const OFFSETS_PROPERTY: &str = "cytoplane.sink.offsets";

/// A field of a stream, as streaming describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: FieldKind,
    pub nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Date,
    Timestamp,
    Timestamptz,
}

/// Where a record lies in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// Names a stream's table may have, best first: its own name, or, if another stream's table has
/// it, the name with the beginning of the stream's id.
pub fn table_candidates(name: &str, stream: &uuid::Uuid) -> [String; 2] {
    let id = stream.simple().to_string();
    // UUIDv7 begins with the time: its end is what tells two streams apart.
    [name.to_owned(), format!("{name}_{}", &id[id.len() - 8..])]
}
