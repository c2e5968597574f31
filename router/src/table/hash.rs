//! How names find their groups and slots. Keyed: tenants choose their names, and must not choose where they collide.
//! Written to disk, so the hash is one that no library's version changes.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

#[derive(Debug, Clone, Copy)]
pub(super) struct Hasher {
    seed: u64,
}

/// Of one name, under one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash(u64);

impl Hasher {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub fn hash(self, name: &str) -> Hash {
        let mut hasher = SipHasher13::new_with_keys(self.seed, !self.seed);
        hasher.write(name.as_bytes());
        Hash(hasher.finish())
    }
}

impl Hash {
    /// The slot of the `step`-th try, or at first the group; `None` without any.
    pub fn place(self, slots: u64, step: u64) -> Option<u64> {
        let first = (u128::from(self.0) * u128::from(slots)) >> 64;
        (u64::try_from(first).ok()? + step).checked_rem(slots)
    }

    /// A slot that leads to a record.
    pub fn slot(self, offset: u32) -> Option<u64> {
        Some((self.tag() << 32) | u64::from(offset.checked_add(1)?))
    }

    pub fn is_tag_of(self, slot: u64) -> bool {
        slot >> 32 == self.tag()
    }

    /// What tells a record from most others of its group.
    pub fn short_tag(self) -> u8 {
        (self.0 & u64::from(u8::MAX)) as u8
    }

    /// The low bits: the high ones chose the place, and are much the same among neighbours.
    fn tag(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}
