//! Lines on their way to the follower: what would change the table waits until it is sealed.

use contracts::routing::FeedLine;
use contracts::seal::Unsealed;

use super::TableError;
use crate::token::{Keys, Unproven};

/// Longest lines that wait for one seal, in bytes. The writer seals at most a few hundred changes together.
const MOST_HELD: usize = 16 * 1024 * 1024;

/// Deterministic; knows no clock and no transport.
#[derive(Debug, Default)]
pub struct Sealing {
    unsealed: Unsealed,
    held: Vec<FeedLine>,
    bytes: usize,
}

/// What becomes of a line.
#[derive(Debug)]
pub enum Taken {
    /// It waits for its seal.
    Held,
    /// A part of a table that is coming in: nobody sees it before its end, which waits.
    Part(FeedLine),
    /// If the seal proves right, what waits is given by [`Sealing::release`].
    Seal(Seal),
}

/// What is said to be signed, and the signature.
#[derive(Debug)]
pub struct Seal {
    statement: Vec<u8>,
    kid: String,
    signature: String,
}

impl Seal {
    pub fn prove(&self, keys: &Keys) -> Result<(), Unproven> {
        keys.prove_document(&self.kid, &self.statement, &self.signature)
    }
}

impl Sealing {
    /// Takes a line without the line feed that ended it.
    pub fn take(&mut self, text: &[u8]) -> Result<Taken, TableError> {
        let line = serde_json::from_slice(text).map_err(|error| TableError::Shape(error.to_string()))?;
        if let FeedLine::Seal { kid, signature } = line {
            return Ok(Taken::Seal(Seal { statement: self.unsealed.statement(), kid, signature }));
        }
        self.unsealed.add(text);
        self.unsealed.add(b"\n");
        if matches!(line, FeedLine::Begin { .. } | FeedLine::Routes { .. }) {
            return Ok(Taken::Part(line));
        }
        self.bytes += text.len();
        if self.bytes > MOST_HELD {
            return Err(TableError::Shape(format!("more than {MOST_HELD} bytes without a seal")));
        }
        self.held.push(line);
        Ok(Taken::Held)
    }

    /// The lines that waited for the seal that has proved right.
    pub fn release(&mut self) -> Vec<FeedLine> {
        self.bytes = 0;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use contracts::routing::{CellEndpoint, Change, Route, Table};
    use contracts::{CellId, Generation, TenantId, TierId};
    use ed25519_dalek::{Signer as _, SigningKey};
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::table::{Follower, View};
    use crate::token::tests::{key, keys};

    fn endpoint() -> CellEndpoint {
        CellEndpoint {
            cell: CellId::new("shared-1").unwrap(),
            http: "127.0.2.1:8080".into(),
            flight: "127.0.2.1:50133".into(),
            door: None,
        }
    }

    fn route(tenant: &str) -> Route {
        Route {
            tenant: TenantId::new(tenant).unwrap(),
            cell: endpoint().cell,
            generation: Generation(1),
            hosts: vec![format!("{tenant}.localhost")],
            tier: TierId::default(),
        }
    }

    /// Lines as they are sent, sealed.
    fn sealed(lines: &[FeedLine], key: &SigningKey) -> Vec<u8> {
        let text = |line: &FeedLine| [serde_json::to_vec(line).unwrap(), b"\n".to_vec()].concat();
        let mut sent = lines.iter().flat_map(text).collect::<Vec<u8>>();
        let mut unsealed = Unsealed::default();
        unsealed.add(&sent);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&unsealed.statement()).to_bytes());
        sent.extend(text(&FeedLine::Seal { kid: "k1".into(), signature }));
        sent
    }

    fn table() -> Vec<FeedLine> {
        let routes = ["acme", "globex", "initech"].map(|name| (route(name).tenant, route(name)));
        let cells = [(endpoint().cell, endpoint())].into();
        Table { version: 9, cells, routes: routes.into(), ..Table::default() }.lines()
    }

    fn placed(version: u64, tenant: &str) -> FeedLine {
        FeedLine::Delta { version, change: Change::TenantPlaced { route: route(tenant) } }
    }

    /// What a router serves after all of it, as the feed's follower does it.
    fn served(sent: &[u8], keys: &Keys) -> View {
        let (mut sealing, mut follower, mut served) = (Sealing::default(), Follower::default(), View::default());
        let mut read = || -> Result<(), String> {
            for line in sent.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").ok_or("cut off")?;
                match sealing.take(line).map_err(|e| e.to_string())? {
                    Taken::Held => {}
                    Taken::Part(line) => follower.step(line).map_err(|e| e.to_string())?,
                    Taken::Seal(seal) => {
                        seal.prove(keys).map_err(|e| e.to_string())?;
                        sealing
                            .release()
                            .into_iter()
                            .try_for_each(|line| follower.step(line))
                            .map_err(|e| e.to_string())?;
                    }
                }
            }
            Ok(())
        };
        let _ = read();
        if let Some(view) = follower.take() {
            served = view;
        }
        served
    }

    #[test]
    fn nothing_is_in_force_before_its_seal() {
        let (keys, key) = (keys(), key());
        let whole = sealed(&table(), &key);
        assert_eq!(served(&whole, &keys).tenants(), 3);
        let without = whole.trim_ascii_end().rsplitn(2, |byte| *byte == b'\n').last().unwrap();
        assert_eq!(served(&[without, b"\n"].concat(), &keys).tenants(), 0);
        let delta = sealed(&[placed(10, "umbrella")], &key);
        assert_eq!(served(&[&whole[..], &delta].concat(), &keys).tenants(), 4);
        let forged = sealed(&[placed(10, "umbrella")], &SigningKey::from_bytes(&[8; 32]));
        assert_eq!(served(&[&whole[..], &forged].concat(), &keys).tenants(), 3);
        // A seal is of all lines before it: one that is pushed in between spoils it.
        let slipped = serde_json::to_vec(&placed(10, "evil")).unwrap();
        assert_eq!(served(&[&whole[..], &slipped, b"\n", &delta].concat(), &keys).tenants(), 3);
        // And of no others: one that was right is wrong in another place.
        let seal = delta.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(served(&[&whole[..], &slipped, b"\n", seal, b"\n"].concat(), &keys).tenants(), 3);
    }

    /// Every one of them leaves the table as it was sent, or none.
    #[test]
    fn a_hundred_thousand_damaged_tables_are_refused() {
        let (keys, good) = (keys(), sealed(&table(), &key()));
        let right = served(&good, &keys);
        let mut random = rand::rngs::StdRng::seed_from_u64(20_261_201);
        let mut refused = 0;
        for _ in 0..100_000 {
            let mut bad = good.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bad.len());
                match random.random_range(0..4) {
                    0 => bad[at] ^= 1 << random.random_range(0..8),
                    1 => bad.truncate(at + 1),
                    2 => bad.insert(at, random.random()),
                    _ => drop(bad.remove(at)),
                }
                if bad.is_empty() {
                    break;
                }
            }
            let view = served(&bad, &keys);
            if view.version() == 0 {
                refused += 1;
            } else {
                assert!(view.is(&right), "{}", String::from_utf8_lossy(&bad));
            }
        }
        assert!(refused > 95_000, "{refused}");
    }

    #[test]
    fn what_is_never_sealed_has_a_bound() {
        let mut sealing = Sealing::default();
        let line = serde_json::to_vec(&FeedLine::Heartbeat { version: 1 }).unwrap();
        let most = MOST_HELD / line.len();
        let taken = (0..=most).map(|_| sealing.take(&line)).find(Result::is_err);
        assert!(matches!(taken, Some(Err(TableError::Shape(_)))));
    }
}
