//! Cards of API keys: what each may do, signed by identity (docs/adr/0020-api-keys-at-the-door.md).

use std::sync::Arc;

use contracts::key_cards::CardLine;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most cards held at once; each takes about 700 bytes.
const MOST_CARDS: usize = 500_000;

/// The newest card of each key, and how far the feed was read. A copy costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Cards {
    /// Position in the feed.
    pub seq: u64,
    by_key: imbl::HashMap<Uuid, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    card: Arc<str>,
    seq: u64,
    until: i64,
}

/// A snapshot's payload.
#[derive(Serialize, Deserialize)]
struct Kept {
    seq: u64,
    cards: Vec<CardLine>,
}

impl Cards {
    /// Takes one card. `false` when there is no room for it.
    pub fn add(&mut self, line: CardLine) -> bool {
        let CardLine { seq, key, card, until } = line;
        if self.by_key.len() >= MOST_CARDS && !self.by_key.contains_key(&key) {
            return false;
        }
        self.by_key.insert(key, Held { card: card.into(), seq, until });
        self.seq = self.seq.max(seq);
        true
    }

    pub fn of(&self, key: Uuid) -> Option<Arc<str>> {
        self.by_key.get(&key).map(|held| Arc::clone(&held.card))
    }

    /// Forgets cards that have expired.
    pub fn forget(&mut self, now: i64) {
        self.by_key.retain(|_, held| held.until >= now);
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn payload(&self) -> serde_json::Result<Vec<u8>> {
        let line = |(key, held): (&Uuid, &Held)| CardLine {
            seq: held.seq,
            key: *key,
            card: held.card.to_string(),
            until: held.until,
        };
        serde_json::to_vec(&Kept { seq: self.seq, cards: self.by_key.iter().map(line).collect() })
    }

    /// Reads a snapshot's payload.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let kept: Kept = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
        let mut cards = Self::default();
        if !kept.cards.into_iter().all(|line| cards.add(line)) {
            return Err("more cards than the bound".into());
        }
        cards.seq = kept.seq;
        Ok(cards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, key: u128, until: i64) -> CardLine {
        CardLine { seq, key: Uuid::from_u128(key), card: format!("card {seq}"), until }
    }

    #[test]
    fn a_newer_card_takes_the_place_of_the_one_before_and_what_is_kept_reads_back() {
        let mut cards = Cards::default();
        for line in [line(1, 7, 100), line(2, 8, 50), line(3, 7, 200)] {
            assert!(cards.add(line));
        }
        let of = |cards: &Cards, key| cards.of(Uuid::from_u128(key)).map(|card| card.to_string());
        assert_eq!((of(&cards, 7), of(&cards, 8)), (Some("card 3".into()), Some("card 2".into())));
        cards.forget(51);
        assert_eq!((cards.len(), of(&cards, 8)), (1, None));
        let read = Cards::read(&cards.payload().unwrap()).unwrap();
        assert_eq!((read.seq, of(&read, 7), read.len()), (3, Some("card 3".into()), 1));
        assert!(Cards::read(b"{}").is_err());
    }
}
