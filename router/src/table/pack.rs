//! Packing routes into a block.

use std::collections::HashMap;

use bytes::Bytes;
use contracts::groups::Groups;
use contracts::routing::{ApplyError, CellEndpoint, Route};
use contracts::tiers::Tier;
use contracts::{CellId, TierId};

use super::TableError;
use super::hash::{Hash, Hasher};
use super::packed::{BEGIN, Front, HEADER, Housing, Packed, SLOT};
use crate::block::Block;

/// Endings worth an index: each is tried for every host that is looked up.
const MOST_ENDINGS: usize = 8;
/// Routes that are looked at for what hosts have in common.
const SAMPLE: usize = 10_000;
/// Tenants in a group, on average: so many records are one or two lines of the processor's cache.
const TENANTS_PER_GROUP: usize = 4;
/// A slot in four stays empty, so that a probe is short.
const SLOTS_PER_NAME: (usize, usize) = (4, 3);

/// The endings that most hosts share, commonest first.
fn endings(routes: &[Route]) -> Vec<String> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for route in routes {
        for host in &route.hosts {
            if let Some(ending) = ending(route, host) {
                *counts.entry(ending).or_default() += 1;
            }
        }
    }
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts.into_iter().take(MOST_ENDINGS).map(|(ending, _)| ending.to_owned()).collect()
}

/// What follows the tenant's name in its host.
fn ending<'a>(route: &Route, host: &'a str) -> Option<&'a str> {
    host.strip_prefix(route.tenant.as_str()).filter(|ending| ending.starts_with('.'))
}

/// Packs routes as they come. That tenants and hosts are each there once is for [`Packed::check`] to see.
#[derive(Debug)]
pub(super) struct Packing {
    version: u64,
    seed: u64,
    front: Front,
    /// The first [`SAMPLE`] of them.
    first: Vec<Route>,
    packer: Option<Packer>,
}

impl Packing {
    pub fn new(
        version: u64,
        (removed, groups): (u64, Groups),
        cells: impl Iterator<Item = CellEndpoint>,
        tiers: impl Iterator<Item = Tier>,
    ) -> Self {
        let cells = cells.map(|endpoint| Housing { endpoint, tier: TierId::default(), tenants: 0 }).collect();
        let front = Front { cells, tiers: tiers.collect(), endings: Vec::new(), removed, groups };
        Self { version, seed: rand::random(), front, first: Vec::new(), packer: None }
    }

    pub fn add(&mut self, route: Route) -> Result<(), TableError> {
        if let Some(packer) = &mut self.packer {
            return packer.add(&route);
        }
        self.first.push(route);
        if self.first.len() < SAMPLE { Ok(()) } else { self.begin().map(drop) }
    }

    fn begin(&mut self) -> Result<&mut Packer, TableError> {
        let first = std::mem::take(&mut self.first);
        let front = Front { endings: endings(&first), ..self.front.clone() };
        let packer = self.packer.insert(Packer::new(self.seed, front)?);
        first.iter().try_for_each(|route| packer.add(route))?;
        Ok(packer)
    }

    /// Takes about a second for a million routes.
    pub fn finish(mut self) -> Result<Packed, TableError> {
        if self.packer.is_none() {
            self.begin()?;
        }
        let packer = self.packer.ok_or_else(too_large)?;
        Packed::open(packer.finish(self.version, self.seed)?)
    }
}

#[derive(Debug)]
struct Packer {
    front: Front,
    pairs: HashMap<CellId, HashMap<TierId, u16>>,
    hasher: Hasher,
    /// Records in the order they came.
    records: Vec<u8>,
    tenants: Vec<Came>,
    /// Hosts that need a slot, and which of the tenants each belongs to.
    hosts: Vec<(Hash, u32)>,
}

/// A tenant whose record has come.
#[derive(Debug, Clone, Copy)]
struct Came {
    hash: Hash,
    begin: u32,
    end: u32,
}

fn too_large() -> TableError {
    TableError::Shape("it is too large".to_owned())
}

impl Packer {
    /// `front` names each cell once, with the tier that is commonest, or any.
    fn new(seed: u64, mut front: Front) -> Result<Self, TableError> {
        let mut pairs: HashMap<CellId, HashMap<TierId, u16>> = HashMap::new();
        for (index, Housing { endpoint, tier, tenants }) in front.cells.iter_mut().enumerate() {
            *tenants = 0;
            let index = u16::try_from(index).map_err(|_| too_large())?;
            pairs.entry(endpoint.cell.clone()).or_default().insert(tier.clone(), index);
        }
        let hasher = Hasher::new(seed);
        Ok(Self { front, pairs, hasher, records: Vec::new(), tenants: Vec::new(), hosts: Vec::new() })
    }

    /// The index of the route's cell and tier, and one tenant more there.
    fn pair(&mut self, route: &Route) -> Result<u16, TableError> {
        let unknown = || ApplyError::UnknownCell { tenant: route.tenant.clone(), cell: route.cell.clone() };
        let tiers = self.pairs.get_mut(&route.cell).ok_or_else(unknown)?;
        let index = match tiers.get(&route.tier) {
            Some(index) => *index,
            None => {
                let known = tiers.values().next().and_then(|index| self.front.cells.get(usize::from(*index)));
                let endpoint = known.ok_or_else(unknown)?.endpoint.clone();
                let index = u16::try_from(self.front.cells.len()).map_err(|_| too_large())?;
                self.front.cells.push(Housing { endpoint, tier: route.tier.clone(), tenants: 0 });
                tiers.insert(route.tier.clone(), index);
                index
            }
        };
        let housing = self.front.cells.get_mut(usize::from(index)).ok_or_else(unknown)?;
        housing.tenants += 1;
        Ok(index)
    }

    fn add(&mut self, route: &Route) -> Result<(), TableError> {
        let number = u32::try_from(self.tenants.len()).map_err(|_| too_large())?;
        let hash = self.hasher.hash(route.tenant.as_str());
        let mut body = self.pair(route)?.to_le_bytes().to_vec();
        varint(&mut body, route.generation.0);
        text(&mut body, route.tenant.as_str())?;
        varint(&mut body, route.hosts.len() as u64);
        for host in &route.hosts {
            let index = ending(route, host).and_then(|own| self.front.endings.iter().position(|known| known == own));
            match index.and_then(|index| u8::try_from(index).ok()) {
                Some(index) => body.extend_from_slice(&[0, index]),
                None => {
                    text(&mut body, host)?;
                    self.hosts.push((self.hasher.hash(host), number));
                }
            }
        }
        let begin = u32::try_from(self.records.len()).map_err(|_| too_large())?;
        self.records.push(hash.short_tag());
        varint(&mut self.records, body.len() as u64);
        self.records.extend_from_slice(&body);
        let end = u32::try_from(self.records.len()).map_err(|_| too_large())?;
        self.tenants.push(Came { hash, begin, end });
        Ok(())
    }

    fn finish(self, version: u64, seed: u64) -> Result<Bytes, TableError> {
        let front = serde_json::to_vec(&self.front).map_err(|error| TableError::Shape(error.to_string()))?;
        let groups = self.tenants.len().div_ceil(TENANTS_PER_GROUP);
        let slots = slots(self.hosts.len());
        let lengths = [front.len(), self.records.len(), (groups + 1) * BEGIN, slots * SLOT];
        let length = lengths.iter().try_fold(HEADER, |sum, length| sum.checked_add(*length)).ok_or_else(too_large)?;
        let mut block = Block::zeroed(length).map_err(|error| TableError::Memory(error.to_string()))?;
        let mut rest: &mut [u8] = &mut block;
        let mut part = |length| rest.split_off_mut(..length).ok_or_else(too_large);
        let (of_header, of_front) = (part(HEADER)?, part(lengths[0])?);
        let (of_records, of_groups, of_slots) = (part(lengths[1])?, part(lengths[2])?, part(lengths[3])?);
        of_front.copy_from_slice(&front);
        let begins = self.group(groups as u64, of_records, of_groups).ok_or_else(too_large)?;
        let longest_probe = self.insert(&begins, of_slots).ok_or_else(too_large)?;
        let header = [
            version,
            seed,
            self.tenants.len() as u64,
            front.len() as u64,
            self.records.len() as u64,
            groups as u64,
            slots as u64,
            longest_probe,
        ];
        for (place, number) in of_header.chunks_exact_mut(8).zip(header) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Ok(block.freeze())
    }

    /// Lays the records group by group and notes where each group begins; where each tenant's record is now.
    fn group(&self, groups: u64, mut records: &mut [u8], begins: &mut [u8]) -> Option<Vec<u32>> {
        let mut order = Vec::with_capacity(self.tenants.len());
        for (number, came) in self.tenants.iter().enumerate() {
            order.push((came.hash.place(groups, 0)?, u32::try_from(number).ok()?));
        }
        order.sort_unstable();
        let (mut order, mut at) = (order.into_iter().peekable(), 0u32);
        let mut moved = vec![0; self.tenants.len()];
        for (group, begin) in begins.chunks_exact_mut(BEGIN).enumerate() {
            begin.copy_from_slice(&at.to_le_bytes());
            while let Some((_, number)) = order.next_if(|(of, _)| *of == group as u64) {
                let came = self.tenants.get(number as usize)?;
                let record = self.records.get(came.begin as usize..came.end as usize)?;
                records.split_off_mut(..record.len())?.copy_from_slice(record);
                *moved.get_mut(number as usize)? = at;
                at += came.end - came.begin;
            }
        }
        Some(moved)
    }

    /// Fills the slots of hosts; the longest way that any name is from its place.
    fn insert(&self, begins: &[u32], slots: &mut [u8]) -> Option<u64> {
        let count = (slots.len() / SLOT) as u64;
        let mut longest = 0;
        for (hash, tenant) in &self.hosts {
            let mut step = 0;
            loop {
                let at = usize::try_from(hash.place(count, step)?).ok()? * SLOT;
                let slot = slots.get_mut(at..at + SLOT)?;
                if slot.iter().all(|byte| *byte == 0) {
                    slot.copy_from_slice(&hash.slot(*begins.get(*tenant as usize)?)?.to_le_bytes());
                    break;
                }
                step += 1;
            }
            longest = longest.max(step);
        }
        Some(longest)
    }
}

fn slots(names: usize) -> usize {
    (names * SLOTS_PER_NAME.0).div_ceil(SLOTS_PER_NAME.1)
}

/// At most 255 bytes, as every name of the domain system is.
fn text(records: &mut Vec<u8>, text: &str) -> Result<(), TableError> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length > 0);
    records.push(length.ok_or_else(|| TableError::Host(text.to_owned()))?);
    records.extend_from_slice(text.as_bytes());
    Ok(())
}

fn varint(records: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // The seven low bits and the mark that more come.
        records.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    records.push(number as u8);
}
