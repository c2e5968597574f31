//! Memory for blocks: in huge pages where the machine has them. Lookups jump about in a block, and each jump
//! into a page whose place is not known costs more than reading it.

use std::io;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// A huge page of the usual machines. What is shorter gains nothing.
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed memory that is filled once.
pub enum Block {
    Short(Vec<u8>),
    Long(MmapMut),
}

impl Block {
    pub fn zeroed(length: usize) -> io::Result<Self> {
        if length < HUGE_PAGE {
            return Ok(Self::Short(vec![0; length]));
        }
        let memory = MmapMut::map_anon(length)?;
        // A wish: a kernel without huge pages leaves it at small ones.
        let _ = memory.advise(Advice::HugePage);
        Ok(Self::Long(memory))
    }

    pub fn freeze(self) -> Bytes {
        match self {
            Self::Short(bytes) => bytes.into(),
            Self::Long(memory) => Bytes::from_owner(memory),
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(memory) => memory,
        }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(memory) => memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_or_long_a_block_holds_what_was_put_into_it() {
        for length in [0, 5, HUGE_PAGE - 1, HUGE_PAGE, 2 * HUGE_PAGE + 1] {
            let mut block = Block::zeroed(length).unwrap();
            assert!(block.iter().all(|byte| *byte == 0));
            if let Some(last) = block.last_mut() {
                *last = 7;
            }
            let bytes = block.freeze();
            assert_eq!((bytes.len(), bytes.last().copied()), (length, (length > 0).then_some(7)));
        }
    }
}
