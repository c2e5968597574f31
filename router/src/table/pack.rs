//! Packing routes into a block.

use std::collections::HashMap;

use bytes::Bytes;
use contracts::routing::{ApplyError, CellEndpoint, Route};
use contracts::tiers::Tier;
use contracts::{CellId, TierId};

use super::TableError;
use super::hash::{Hash, Hasher};
use super::packed::{Front, HEADER, Housing, Packed, SLOT};
use crate::block::Block;

/// Endings worth an index: each is tried for every host that is looked up.
const MOST_ENDINGS: usize = 8;
/// Routes that are looked at for what hosts have in common.
const SAMPLE: usize = 10_000;
/// A slot in four stays empty, so that a probe is short.
const SLOTS_PER_NAME: (u64, u64) = (4, 3);

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
        seed: u64,
        cells: impl Iterator<Item = CellEndpoint>,
        tiers: impl Iterator<Item = Tier>,
    ) -> Self {
        let cells = cells.map(|endpoint| Housing { endpoint, tier: TierId::default(), tenants: 0 }).collect();
        let front = Front { cells, tiers: tiers.collect(), endings: Vec::new() };
        Self { version, seed, front, first: Vec::new(), packer: None }
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
    records: Vec<u8>,
    tenants: Vec<(Hash, u32)>,
    hosts: Vec<(Hash, u32)>,
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
        let offset = u32::try_from(self.records.len()).map_err(|_| too_large())?;
        let pair = self.pair(route)?;
        self.records.extend_from_slice(&pair.to_le_bytes());
        varint(&mut self.records, route.generation.0);
        text(&mut self.records, route.tenant.as_str())?;
        varint(&mut self.records, route.hosts.len() as u64);
        self.tenants.push((self.hasher.hash(route.tenant.as_str()), offset));
        for host in &route.hosts {
            let index = ending(route, host).and_then(|own| self.front.endings.iter().position(|known| known == own));
            match index.and_then(|index| u8::try_from(index).ok()) {
                Some(index) => self.records.extend_from_slice(&[0, index]),
                None => {
                    text(&mut self.records, host)?;
                    self.hosts.push((self.hasher.hash(host), offset));
                }
            }
        }
        Ok(())
    }

    fn finish(self, version: u64, seed: u64) -> Result<Bytes, TableError> {
        let front = serde_json::to_vec(&self.front).map_err(|error| TableError::Shape(error.to_string()))?;
        let counts = [slots(self.tenants.len()), slots(self.hosts.len())];
        let mut header = [
            version,
            seed,
            self.tenants.len() as u64,
            front.len() as u64,
            self.records.len() as u64,
            counts[0],
            counts[1],
            0,
        ];
        let room = counts.iter().sum::<u64>().checked_mul(SLOT as u64).and_then(|room| usize::try_from(room).ok());
        let before = HEADER + front.len() + self.records.len();
        let length = room.and_then(|room| room.checked_add(before)).ok_or_else(too_large)?;
        let mut block = Block::zeroed(length).map_err(|error| TableError::Memory(error.to_string()))?;
        let (begin, slots) = block.split_at_mut_checked(before).ok_or_else(too_large)?;
        let (for_front, for_records) =
            begin.get_mut(HEADER..).and_then(|rest| rest.split_at_mut_checked(front.len())).ok_or_else(too_large)?;
        for_front.copy_from_slice(&front);
        for_records.copy_from_slice(&self.records);
        let of_tenants = usize::try_from(counts[0]).map_err(|_| too_large())? * SLOT;
        let (tenants, hosts) = slots.split_at_mut_checked(of_tenants).ok_or_else(too_large)?;
        let longest = [insert(tenants, &self.tenants), insert(hosts, &self.hosts)];
        header[7] = longest.into_iter().try_fold(0, |most, one| one.map(|one| most.max(one))).ok_or_else(too_large)?;
        for (place, number) in block.chunks_exact_mut(8).zip(header) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Ok(block.freeze())
    }
}

fn slots(names: usize) -> u64 {
    (names as u64 * SLOTS_PER_NAME.0).div_ceil(SLOTS_PER_NAME.1)
}

/// Fills the slots; the longest way that any name is from its place.
fn insert(slots: &mut [u8], names: &[(Hash, u32)]) -> Option<u64> {
    let count = (slots.len() / SLOT) as u64;
    let mut longest = 0;
    for (hash, offset) in names {
        let mut step = 0;
        loop {
            let at = usize::try_from(hash.place(count, step)?).ok()? * SLOT;
            let slot = slots.get_mut(at..at + SLOT)?;
            if slot.iter().all(|byte| *byte == 0) {
                slot.copy_from_slice(&hash.slot(*offset)?.to_le_bytes());
                break;
            }
            step += 1;
        }
        longest = longest.max(step);
    }
    Some(longest)
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
