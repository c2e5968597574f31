//! The routing table as one block of bytes: what lies on disk is what requests read.
//!
//! ```text
//! header   eight u64: version, seed, tenants, length of front, length of records,
//!          number of groups, number of host slots, longest probe
//! front    JSON: the pairs of cell and tier that tenants have, in the order records count them; the cells; the tiers;
//!          and the common endings of hosts
//! records  one a tenant, group after group: tag u8 · length of the rest varint · pair u16 · generation varint ·
//!          length u8, tenant · hosts varint · each host: length u8, text, or 0 and the index u8 of its ending
//! groups   u32 each, one more than there are groups: where among the records a group begins, and the one before ends
//! slots    of hosts that have no common ending: u64 each, 0 = empty,
//!          else 32 bits of the name's hash and the record's offset + 1
//! ```
//! All numbers are little-endian. A tenant's group is the hash of its name over the number of groups, its tag the
//! lowest byte of it: a lookup reads one place among the groups, which are few enough to stay in the processor's cache,
//! and one among the records. A slot's place is its hash over the number of slots; a taken one sends to the next.
//! Nothing is trusted while reading: a block that lies finds nothing, but never fails to end.

use std::ops::Range;

use bytes::Bytes;
use contracts::groups::Groups;
use contracts::routing::{CellEndpoint, Route};
use contracts::tiers::Tier;
use contracts::{CellId, Generation, TenantId, TierId};
use serde::{Deserialize, Serialize};

use super::TableError;
use super::hash::{Hash, Hasher};

pub(super) const HEADER: usize = 8 * 8;
pub(super) const SLOT: usize = 8;
/// Of where a group begins.
pub(super) const BEGIN: usize = 4;
/// More than any honest table probes; a block that says more is refused.
const LONGEST_PROBE: u64 = 4096;
/// More tenants than any honest group has; others are not found.
const LARGEST_GROUP: usize = 64;
/// Bytes that come from memory together.
const CACHE_LINE: usize = 64;

/// The part of a block that is JSON: small, and read once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Front {
    pub cells: Vec<Housing>,
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// What the hosts of many tenants end with after the tenant's name, from its dot on.
    pub endings: Vec<String>,
    /// Tenants that were removed before the table's version.
    #[serde(default)]
    pub removed: u64,
    #[serde(default)]
    pub groups: Groups,
}

/// A cell, and how many of the table's tenants of one tier it holds. Every cell is there once at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Housing {
    pub endpoint: CellEndpoint,
    #[serde(default)]
    pub tier: TierId,
    pub tenants: u64,
}

/// A whole table, immutable.
#[derive(Debug, Clone)]
pub struct Packed {
    bytes: Bytes,
    version: u64,
    hasher: Hasher,
    tenants: u64,
    front: Front,
    records: Range<usize>,
    groups: Section,
    host_slots: Section,
    longest_probe: u64,
}

/// Entries of one length, one after the other.
#[derive(Debug, Clone, Default)]
struct Section {
    bytes: Range<usize>,
    count: u64,
}

/// A tenant's record, borrowed from the block.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub tenant: &'a str,
    pub generation: Generation,
    pub cell: &'a CellId,
    pub tier: &'a TierId,
    hosts: &'a [u8],
    endings: &'a [String],
}

impl Default for Packed {
    fn default() -> Self {
        Self {
            bytes: Bytes::new(),
            version: 0,
            hasher: Hasher::new(0),
            tenants: 0,
            front: Front::default(),
            records: 0..0,
            groups: Section::default(),
            host_slots: Section::default(),
            longest_probe: 0,
        }
    }
}

impl Packed {
    /// Reads the header and the front; records are read when they are asked for.
    pub fn open(bytes: Bytes) -> Result<Self, TableError> {
        let shape = |what: &str| TableError::Shape(what.to_owned());
        let mut header = [0u64; 8];
        for (at, number) in header.iter_mut().enumerate() {
            *number = u64_at(&bytes, at * 8).ok_or_else(|| shape("it ends in its header"))?;
        }
        let [version, seed, tenants, front, records, groups, host_slots, longest_probe] = header;
        if longest_probe > LONGEST_PROBE {
            return Err(shape("its longest probe is too long"));
        }
        let mut end = HEADER;
        let mut section = |length: Option<u64>| {
            let begin = end;
            let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(|| shape("it overflows"))?;
            end = begin.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(|| shape("it is cut off"))?;
            Ok::<_, TableError>(begin..end)
        };
        let front = section(Some(front))?;
        let records = section(Some(records))?;
        let of_groups = section(groups.checked_add(1).and_then(|begins| begins.checked_mul(BEGIN as u64)))?;
        let of_hosts = section(host_slots.checked_mul(SLOT as u64))?;
        if end != bytes.len() {
            return Err(shape("it has bytes too many"));
        }
        let front: Front =
            serde_json::from_slice(bytes.get(front).unwrap_or_default()).map_err(|e| shape(&e.to_string()))?;
        Ok(Self {
            version,
            hasher: Hasher::new(seed),
            tenants,
            front,
            records,
            groups: Section { bytes: of_groups, count: groups },
            host_slots: Section { bytes: of_hosts, count: host_slots },
            longest_probe,
            bytes,
        })
    }

    /// Whether every record leads to itself by each of its names, as a packer would have it.
    pub fn check(&self) -> Result<(), TableError> {
        let lies = || TableError::Shape("its records, its groups and its slots disagree".to_owned());
        let (mut rest, mut tenants) = (self.all_records(), 0);
        while !rest.is_empty() {
            let record = framed(&mut rest).and_then(|(_, body)| self.record(body)).ok_or_else(lies)?;
            let is = |found: Option<Record<'_>>| found.is_some_and(|f| std::ptr::eq(f.tenant, record.tenant));
            let own = |host| matches!(host, Host::Text(text) if !is(self.by_host(text)));
            if TenantId::new(record.tenant).is_err() || !is(self.by_tenant(record.tenant)) || record.hosts().any(own) {
                return Err(lies());
            }
            tenants += 1;
        }
        if tenants == self.tenants { Ok(()) } else { Err(lies()) }
    }

    /// The block itself, as it lies on disk.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn tenants(&self) -> u64 {
        self.tenants
    }

    pub(super) fn groups(&self) -> &Groups {
        &self.front.groups
    }

    pub(super) fn removed(&self) -> u64 {
        self.front.removed
    }

    pub(super) fn cells(&self) -> &[Housing] {
        &self.front.cells
    }

    pub(super) fn tiers(&self) -> &[Tier] {
        &self.front.tiers
    }

    pub fn by_tenant(&self, tenant: &str) -> Option<Record<'_>> {
        let hash = self.hasher.hash(tenant);
        let mut group = self.group(hash)?;
        let group = std::iter::from_fn(move || framed(&mut group)).take(LARGEST_GROUP);
        let tagged = group.filter(|(tag, _)| *tag == hash.short_tag());
        tagged.filter_map(|(_, body)| self.record(body)).find(|record| record.tenant == tenant)
    }

    pub fn by_host(&self, host: &str) -> Option<Record<'_>> {
        // What its tenant's name does not begin is in the slots.
        let own = self.front.endings.iter().filter_map(|ending| host.strip_suffix(ending.as_str()));
        own.filter_map(|tenant| self.by_tenant(tenant))
            .find(|record| record.hosts().any(|known| known.is(record.tenant, host)))
            .or_else(|| self.probe(&self.host_slots, host, |record| record.hosts().any(|known| known.is_text(host))))
    }

    /// Every record, in the order they were packed.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.all_records();
        std::iter::from_fn(move || self.record(framed(&mut rest)?.1))
    }

    fn all_records(&self) -> &[u8] {
        self.bytes.get(self.records.clone()).unwrap_or_default()
    }

    /// The records of the tenants that share a group.
    fn group(&self, hash: Hash) -> Option<&[u8]> {
        let group = usize::try_from(hash.place(self.groups.count, 0)?).ok()?;
        let bounds = u64_at(&self.bytes, self.groups.bytes.start + group * BEGIN)?;
        let begin = usize::try_from(bounds & u64::from(u32::MAX)).ok()?;
        let end = usize::try_from(bounds >> 32).ok()?;
        let group = self.all_records().get(begin..end)?;
        // Asks for the second line while the first is on its way: a record says where the next one is only when it has come.
        std::hint::black_box(group.get(CACHE_LINE).or(group.last()));
        Some(group)
    }

    fn probe<'a>(&'a self, slots: &Section, name: &str, is: impl Fn(&Record<'a>) -> bool) -> Option<Record<'a>> {
        let hash = self.hasher.hash(name);
        for step in 0..=self.longest_probe {
            let place = hash.place(slots.count, step)?;
            let slot = u64_at(&self.bytes, slots.bytes.start + usize::try_from(place).ok()? * SLOT)?;
            if slot == 0 {
                return None;
            }
            if !hash.is_tag_of(slot) {
                continue;
            }
            let offset = usize::try_from((slot & u64::from(u32::MAX)).checked_sub(1)?).ok()?;
            match framed(&mut self.all_records().get(offset..)?).and_then(|(_, body)| self.record(body)) {
                Some(record) if is(&record) => return Some(record),
                _ => {}
            }
        }
        None
    }

    fn record<'a>(&'a self, body: &'a [u8]) -> Option<Record<'a>> {
        let mut rest = body;
        let index = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let Housing { endpoint, tier, .. } = self.front.cells.get(usize::from(index))?;
        let generation = Generation(varint(&mut rest)?);
        let tenant = text(&mut rest)?;
        let count = varint(&mut rest)?;
        let hosts = rest;
        for _ in 0..count {
            host(&mut rest)?;
        }
        rest.is_empty().then_some(Record {
            tenant,
            generation,
            cell: &endpoint.cell,
            tier,
            hosts,
            endings: &self.front.endings,
        })
    }
}

/// A host as a record has it.
#[derive(Debug, Clone, Copy)]
enum Host<'a> {
    Text(&'a str),
    /// The tenant's name and this.
    Ending(&'a str),
}

impl Host<'_> {
    fn is(self, tenant: &str, host: &str) -> bool {
        match self {
            Host::Text(_) => false,
            Host::Ending(ending) => host.strip_suffix(ending) == Some(tenant),
        }
    }

    fn is_text(self, host: &str) -> bool {
        matches!(self, Host::Text(text) if text == host)
    }
}

impl<'a> Record<'a> {
    fn hosts(&self) -> impl Iterator<Item = Host<'a>> + use<'a> {
        let (mut rest, endings) = (self.hosts, self.endings);
        std::iter::from_fn(move || match host(&mut rest)? {
            (0, index) => endings.get(usize::from(*index.first()?)).map(|ending| Host::Ending(ending)),
            (_, text) => std::str::from_utf8(text).ok().map(Host::Text),
        })
    }

    /// The route as it was packed; `None` if the block holds what is no tenant.
    pub fn route(&self) -> Option<Route> {
        let hosts = self.hosts().map(|host| match host {
            Host::Text(text) => text.to_owned(),
            Host::Ending(ending) => format!("{}{ending}", self.tenant),
        });
        Some(Route {
            tenant: TenantId::new(self.tenant).ok()?,
            cell: self.cell.clone(),
            generation: self.generation,
            hosts: hosts.collect(),
            tier: self.tier.clone(),
        })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// The next of several records: its tag, and the rest of it.
fn framed<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let tag = *take(rest, 1)?.first()?;
    let length = usize::try_from(varint(rest)?).ok()?;
    Some((tag, take(rest, length)?))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = *take(rest, 1)?.first()?;
    std::str::from_utf8(take(rest, usize::from(length))?).ok()
}

/// A host's length and bytes; of length 0, the one byte is the index of its ending.
fn host<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let length = *take(rest, 1)?.first()?;
    Some((length, take(rest, usize::from(length.max(1)))?))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
