//! What was read since the last commit.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{Generation, TenantId, TraceParent};
use uuid::Uuid;

use super::Place;

/// Traces that one commit is linked to; of more, the first ones.
const TRACES: usize = 16;

/// A stream, as a record names it. By tenant too: a row with a stranger's label must not decide for the others of its
/// stream.
pub type Key = (TenantId, Uuid);

/// Rows of one stream, in reading order: one buffer of JSON lines, and where each came from.
#[derive(Debug, Clone)]
pub struct StreamRows {
    pub tenant: TenantId,
    /// Newest generation a row was written at.
    pub generation: Generation,
    /// Newest schema version a row says it was checked against.
    pub schema_version: i32,
    pub places: Vec<Place>,
    /// Schema version of each row.
    pub versions: Vec<i32>,
    /// Recorded traces that rows came by, in reading order.
    pub traces: Vec<TraceParent>,
    /// When the oldest row was made, in milliseconds since the epoch, if its producer said so.
    pub oldest_ms: Option<i64>,
    /// End of each row in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl StreamRows {
    fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            generation: Generation(0),
            schema_version: 0,
            places: Vec::new(),
            versions: Vec::new(),
            traces: Vec::new(),
            oldest_ms: None,
            ends: Vec::new(),
            bytes: Vec::new(),
        }
    }

    fn follow(&mut self, trace: Option<TraceParent>, made_ms: Option<i64>) {
        if let Some(trace) = trace
            && self.traces.len() < TRACES
            && !self.traces.contains(&trace)
        {
            self.traces.push(trace);
        }
        self.oldest_ms = [self.oldest_ms, made_ms].into_iter().flatten().min();
    }

    fn push(&mut self, place: Place, version: i32, row: &[u8]) {
        self.schema_version = self.schema_version.max(version);
        self.places.push(place);
        self.versions.push(version);
        self.bytes.extend_from_slice(row);
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    /// The row's JSON, with its line end.
    pub fn row(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }
}

/// A record that is no row of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    pub place: Place,
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub code: &'static str,
    pub detail: &'static str,
}

/// A record of the topic, borrowed from its reader.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub place: Place,
    pub key: &'a [u8],
    pub payload: &'a [u8],
    /// Milliseconds since the epoch: when its producer made it, if it said so.
    pub made_ms: Option<i64>,
}

/// A record, as its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub tenant: TenantId,
    pub stream: Uuid,
    pub schema_version: i32,
    pub generation: Generation,
    /// Present only if the push was recorded.
    pub trace: Option<TraceParent>,
}

/// Reads the headers of a record; the error is the reason it is poison.
pub fn labels<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Labels, &'static str> {
    use contracts::headers::{GENERATION, RECORD_SCHEMA_VERSION, RECORD_STREAM, RECORD_TENANT, TRACEPARENT};
    let (mut tenant, mut stream, mut version, mut generation, mut trace) = (None, None, None, None, None);
    for (name, value) in headers {
        let slot = match name {
            RECORD_TENANT => &mut tenant,
            RECORD_STREAM => &mut stream,
            RECORD_SCHEMA_VERSION => &mut version,
            GENERATION => &mut generation,
            TRACEPARENT => &mut trace,
            _ => continue,
        };
        *slot = std::str::from_utf8(value).ok();
    }
    Ok(Labels {
        tenant: tenant.and_then(|t| TenantId::new(t).ok()).ok_or("header tenant is missing or malformed")?,
        stream: stream.and_then(|s| Uuid::try_parse(s).ok()).ok_or("header stream is missing or malformed")?,
        schema_version: version.and_then(|v| v.parse().ok()).ok_or("header schema-version is missing or malformed")?,
        // Rows of other producers may lack it: then placement alone says the generation.
        generation: generation.and_then(|g| g.parse().ok()).unwrap_or_default(),
        trace: trace.and_then(|t| t.parse().ok()).filter(|t: &TraceParent| t.sampled),
    })
}

/// Whether a record is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    New,
    /// Read before in this epoch.
    Repeat,
}

/// Rows and poison read since the last commit, in one epoch of the group's assignment.
#[derive(Debug, Default)]
pub struct Round {
    epoch: u64,
    /// Next offset to read by partition: the group's hint once everything below is dealt with.
    next: BTreeMap<i32, i64>,
    pub streams: BTreeMap<Key, StreamRows>,
    pub poison: Vec<Poison>,
    pub rows: usize,
    pub bytes: usize,
}

impl Round {
    /// Call it first for each record. A new epoch empties the round: what was read and not
    /// committed is read again, by us or by whoever owns the partition now.
    fn see(&mut self, epoch: u64, place: Place) -> Seen {
        self.enter(epoch);
        let next = self.next.entry(place.partition).or_insert(place.offset);
        if place.offset < *next {
            return Seen::Repeat;
        }
        *next = place.offset + 1;
        Seen::New
    }

    /// Takes a record read in `epoch`: as a row, as poison, or not at all if it was read before.
    pub fn read<'a>(
        &mut self,
        epoch: u64,
        record: &Record<'_>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) {
        let Record { place, key, payload, made_ms } = *record;
        if self.see(epoch, place) == Seen::Repeat {
            return;
        }
        let (code, detail) = match labels(headers.clone()) {
            Ok(_) if payload.is_empty() => ("empty", "the record has no value"),
            Ok(labels) => return self.take(labels, place, payload, made_ms),
            Err(why) => ("labels", why),
        };
        self.give_up(Poison {
            place,
            key: key.to_vec(),
            payload: payload.to_vec(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            code,
            detail,
        });
    }

    /// Forgets everything if the assignment is another one.
    pub fn enter(&mut self, epoch: u64) {
        if epoch != self.epoch {
            *self = Round { epoch, ..Round::default() };
        }
    }

    pub fn take(&mut self, labels: Labels, place: Place, row: &[u8], made_ms: Option<i64>) {
        let Labels { tenant, stream, schema_version, generation, trace } = labels;
        let rows = self.streams.entry((tenant.clone(), stream)).or_insert_with(|| StreamRows::new(tenant));
        rows.generation = rows.generation.max(generation);
        rows.follow(trace, made_ms);
        rows.push(place, schema_version, row);
        self.rows += 1;
        self.bytes += row.len();
    }

    fn give_up(&mut self, poison: Poison) {
        self.bytes += poison.payload.len();
        self.poison.push(poison);
    }

    /// The rows of one stream, to be committed: of the tenants in `first` before all others, and of nobody whose rows are
    /// `under_way`, because older rows enter a table before newer ones. `None`: none may be taken now.
    pub fn take_rows<'a>(
        &mut self,
        mut first: impl Iterator<Item = &'a TenantId>,
        others_too: bool,
        under_way: &BTreeSet<Key>,
    ) -> Option<(Key, StreamRows)> {
        let is_free = |key: &&Key| !under_way.contains(*key);
        let wanted = first.find_map(|tenant| self.of(tenant).find(is_free));
        let others = || others_too.then(|| self.streams.keys().find(is_free)).flatten();
        let key = wanted.or_else(others).cloned()?;
        let rows = self.streams.remove(&key)?;
        self.rows -= rows.len();
        self.bytes -= rows.bytes.len() - rows.len();
        Some((key, rows))
    }

    /// What is no row of any table, to be given up.
    pub fn take_poison(&mut self) -> Vec<Poison> {
        let poison = std::mem::take(&mut self.poison);
        self.bytes -= poison.iter().map(|poison| poison.payload.len()).sum::<usize>();
        poison
    }

    pub fn has_rows_of(&self, tenant: &TenantId) -> bool {
        self.of(tenant).next().is_some()
    }

    fn of(&self, tenant: &TenantId) -> impl Iterator<Item = &Key> {
        let all = (tenant.clone(), Uuid::nil())..=(tenant.clone(), Uuid::max());
        self.streams.range(all).map(|(key, _)| key)
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.poison.is_empty()
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far was read, by partition. It is the group's hint once every row and poison of the round is dealt with.
    pub fn next(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Place {
        Place { partition: 0, offset }
    }

    fn of(tenant: &str, stream: u128) -> Labels {
        Labels {
            tenant: TenantId::new(tenant).unwrap(),
            stream: Uuid::from_u128(stream),
            schema_version: 1,
            generation: Generation(1),
            trace: None,
        }
    }

    #[test]
    fn a_new_epoch_forgets_what_was_read_and_not_committed() {
        let mut round = Round::default();
        assert_eq!(round.see(1, place(5)), Seen::New);
        round.take(of("acme", 1), place(5), b"{}", None);
        assert_eq!(round.see(1, place(5)), Seen::Repeat);
        assert_eq!(round.next(), &BTreeMap::from([(0, 6)]));
        assert_eq!(round.see(2, place(3)), Seen::New);
        assert!(round.is_empty());
        assert_eq!(round.next(), &BTreeMap::from([(0, 4)]));
    }

    #[test]
    fn rows_keep_their_bytes_and_places() {
        let mut round = Round::default();
        for (offset, row) in [(0, "{\"a\":1}"), (1, "{\"a\":22}")] {
            round.see(1, place(offset));
            round.take(of("acme", 1), place(offset), row.as_bytes(), None);
        }
        // A stranger's label makes a group of its own.
        round.take(of("globex", 1), place(2), b"{}", None);
        let rows = &round.streams[&(TenantId::new("acme").unwrap(), Uuid::from_u128(1))];
        assert_eq!((rows.row(0), rows.row(1)), (b"{\"a\":1}\n".as_slice(), b"{\"a\":22}\n".as_slice()));
        assert_eq!((rows.len(), round.streams.len()), (2, 2));
    }

    #[test]
    fn a_commit_knows_the_traces_and_the_oldest_of_its_rows() {
        let mut round = Round::default();
        let trace = |number| Some(TraceParent { trace: number, span: 1, sampled: true });
        for (offset, trace, made_ms) in [(0, trace(7), Some(90)), (1, trace(7), Some(50)), (2, trace(8), None)] {
            round.take(Labels { trace, ..of("acme", 1) }, place(offset), b"{}", made_ms);
        }
        let rows = &round.streams[&(TenantId::new("acme").unwrap(), Uuid::from_u128(1))];
        assert_eq!((rows.traces.clone(), rows.oldest_ms), (vec![trace(7).unwrap(), trace(8).unwrap()], Some(50)));
    }

    #[test]
    fn a_record_without_its_labels_is_poison() {
        let all = [
            ("tenant", "acme"),
            ("stream", "018f0000-0000-7000-8000-000000000001"),
            ("schema-version", "2"),
            ("x-cyto-generation", "7"),
        ];
        let read = |skip: &str| labels(all.iter().filter(|(n, _)| *n != skip).map(|(n, v)| (*n, v.as_bytes())));
        assert_eq!(read("").unwrap().generation, Generation(7));
        assert_eq!(read("x-cyto-generation").unwrap().generation, Generation(0));
        for name in ["tenant", "stream", "schema-version"] {
            assert!(read(name).unwrap_err().contains(name));
        }
    }
}
