//! Entries and the chain that makes a change of any of them show.

use contracts::TenantId;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// SHA-256.
pub type Hash = [u8; 32];

/// What the first entry of a chain follows.
pub const GENESIS: Hash = [0; 32];

/// An entry as it is chained.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: u64,
    pub event_id: Uuid,
    /// Whole microseconds: what Postgres keeps.
    pub occurred_at: OffsetDateTime,
    /// `<topic>/<partition>/<offset>`.
    pub origin: String,
    pub request_id: String,
    pub actor: String,
    pub action: String,
    pub resource: String,
    pub outcome: String,
    pub status: u16,
    pub detail: Option<Value>,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub entry: Entry,
    pub prev_hash: Hash,
    pub hash: Hash,
}

/// Hash of an entry that follows `prev`.
///
/// Every field goes in with its length before it, so that no two entries have the same bytes; JSON
/// goes in with sorted keys, so that its order says nothing.
pub fn hash(tenant: &TenantId, prev: &Hash, entry: &Entry) -> Hash {
    let mut digest = Sha256::new();
    let mut put = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    put(b"cytoplane audit v1");
    put(prev);
    put(tenant.as_str().as_bytes());
    put(&entry.seq.to_be_bytes());
    put(entry.event_id.as_bytes());
    put(&micros(entry.occurred_at).to_be_bytes());
    for text in [&entry.origin, &entry.request_id, &entry.actor, &entry.action, &entry.resource, &entry.outcome] {
        put(text.as_bytes());
    }
    put(&entry.status.to_be_bytes());
    put(entry.detail.as_ref().map(canonical).unwrap_or_default().as_bytes());
    digest.finalize().into()
}

fn micros(at: OffsetDateTime) -> i128 {
    at.unix_timestamp_nanos() / 1_000
}

/// Cut to what the database keeps.
pub fn whole_micros(at: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(micros(at) * 1_000).unwrap_or(at)
}

/// JSON with sorted keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            let parts: Vec<String> = names
                .into_iter()
                .map(|name| format!("{}:{}", Value::String(name.clone()), canonical(&members[name])))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// Puts an entry at the end of a chain.
pub fn append(tenant: &TenantId, head: (u64, Hash), mut entry: Entry) -> Link {
    entry.seq = head.0 + 1;
    entry.occurred_at = whole_micros(entry.occurred_at);
    let hash = hash(tenant, &head.1, &entry);
    Link { entry, prev_hash: head.1, hash }
}

/// Walks a chain from its beginning, batch by batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    pub entries: u64,
    pub head: Hash,
    /// First place where the chain does not hold.
    pub broken_at: Option<u64>,
}

impl Default for Walk {
    fn default() -> Self {
        Self { entries: 0, head: GENESIS, broken_at: None }
    }
}

impl Walk {
    /// `false` when there is nothing more to find.
    pub fn step(&mut self, tenant: &TenantId, link: &Link) -> bool {
        let expected = self.entries + 1;
        let holds = link.entry.seq == expected
            && link.prev_hash == self.head
            && hash(tenant, &self.head, &link.entry) == link.hash;
        if !holds {
            self.broken_at = Some(expected);
            return false;
        }
        (self.entries, self.head) = (expected, link.hash);
        true
    }

    /// Compares the walked chain with the head that is kept apart from it: entries cut off at the
    /// end leave a sound but shorter chain.
    pub fn end(&mut self, head: Option<(u64, Hash)>) {
        let (seq, hash) = head.unwrap_or((0, GENESIS));
        if self.broken_at.is_none() && (seq, hash) != (self.entries, self.head) {
            self.broken_at = Some(self.entries.min(seq) + 1);
        }
    }
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub from: Option<OffsetDateTime>,
    pub to: Option<OffsetDateTime>,
    pub actor: Option<String>,
    pub action: Option<String>,
    pub outcome: Option<String>,
    pub request_id: Option<String>,
}
