//! Where the names of cells lead: the newest answer for each. Pure; one that is not answered any more stays as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::table::{At, Entrance, Gate};

mod follow;

pub use follow::Resolving;

/// Addresses of one name that are kept.
const MOST_ADDRESSES: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, Vec<IpAddr>>);

impl Names {
    /// Whether that was news.
    pub fn set(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let unique: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let addresses: Vec<IpAddr> = unique.into_iter().take(MOST_ADDRESSES).collect();
        // A name without an address is one that is not answered.
        if addresses.is_empty() || self.0.get(name) == Some(&addresses) {
            return false;
        }
        self.0.insert(name.to_owned(), addresses);
        true
    }

    /// Forgets names that nobody has any more.
    pub fn keep(&mut self, is_used: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_used(name));
    }

    pub fn of(&self, name: &str) -> &[IpAddr] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many addresses a gate has.
    pub fn count(&self, gate: &Gate) -> usize {
        match &gate.at {
            At::Address(_) => 1,
            At::Name(name, _) => self.of(name).len(),
        }
    }

    /// An address of the gate: the first from `turn` on that is not away, or that of the turn if all are.
    pub fn entrance(&self, gate: &Gate, turn: usize, is_away: impl Fn(SocketAddr) -> bool) -> Option<Entrance> {
        let (name, port) = match &gate.at {
            At::Address(address) => return Some(gate.entrance(*address)),
            At::Name(name, port) => (name, *port),
        };
        let addresses = self.of(name);
        let mut in_turn = addresses.iter().cycle().skip(turn % addresses.len().max(1)).take(addresses.len());
        let at = |ip: &IpAddr| SocketAddr::new(*ip, port);
        let first = in_turn.clone().next().map(at)?;
        let open = in_turn.find_map(|ip| Some(at(ip)).filter(|address| !is_away(*address)));
        Some(gate.entrance(open.unwrap_or(first)))
    }

    /// A snapshot's payload.
    pub fn payload(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.0)
    }

    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let read: BTreeMap<String, Vec<IpAddr>> = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
        let mut names = Self::default();
        for (name, addresses) in read {
            names.set(&name, addresses);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 2, last])
    }

    #[test]
    fn what_is_not_answered_stays_and_what_is_kept_reads_back() {
        let mut names = Names::default();
        assert!(names.set("a", [ip(2), ip(1), ip(2)]) && !names.set("a", [ip(1), ip(2)]));
        assert!(!names.set("a", []));
        assert_eq!(names.of("a"), [ip(1), ip(2)]);
        assert!(names.set("b", [ip(3)]));
        assert_eq!(Names::read(&names.payload().unwrap()), Ok(names.clone()));
        names.keep(|name| name == "b");
        assert!(names.of("a").is_empty() && !names.of("b").is_empty());
        assert!(Names::read(b"[]").is_err());
    }

    #[test]
    fn addresses_take_turns_and_those_that_are_away_are_passed_over() {
        let mut names = Names::default();
        names.set("a.b", [ip(1), ip(2), ip(3)]);
        let gate = Gate::new(At::Name("a.b".into(), 80), "gateway");
        let entered = |turn, away: &[u8]| {
            let is_away = |address: SocketAddr| away.iter().any(|last| address.ip() == ip(*last));
            names.entrance(&gate, turn, is_away).map(|entrance| entrance.address)
        };
        let at = |last| Some(SocketAddr::new(ip(last), 80));
        assert_eq!([entered(0, &[]), entered(1, &[]), entered(5, &[])], [at(1), at(2), at(3)]);
        assert_eq!([entered(1, &[2]), entered(2, &[3]), entered(1, &[1, 2, 3])], [at(3), at(1), at(2)]);
        let unknown = Gate::new(At::Name("c.d".into(), 80), "gateway");
        assert_eq!((names.entrance(&unknown, 0, |_| false), names.count(&unknown)), (None, 0));
    }
}
