//! Where a cell listens, as it is registered and as it is entered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An address, or a name that leads to some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    Address(SocketAddr),
    /// A DNS name and a port.
    Name(Arc<str>, u16),
}

impl At {
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(At::Address(address));
        }
        let (name, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let is_name =
            !crate::target::is_address(name) && crate::target::host_of(name.as_bytes()).as_deref() == Some(name);
        is_name.then(|| At::Name(name.into(), port))
    }
}

/// One of a cell's two doors.
#[derive(Debug)]
pub struct Gate {
    pub at: At,
    /// What the certificate there must carry.
    name: Arc<str>,
    /// Of the name: keeps apart what is kept for each cell.
    pub key: u64,
    /// Requests that went through it since the router has known it.
    passed: AtomicU64,
}

/// One address at which a gate is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    pub address: SocketAddr,
    pub name: Arc<str>,
    pub key: u64,
}

/// Two are the same that lead to the same place, whatever went through them.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        (&self.at, &self.name) == (&other.at, &other.name)
    }
}

impl Eq for Gate {}

impl Gate {
    pub fn new(at: At, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        let hash = blake3::hash(name.as_bytes());
        let key = hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self { at, name, key, passed: AtomicU64::new(0) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more request goes through it.
    pub fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub fn entrance(&self, address: SocketAddr) -> Entrance {
        Entrance { address, name: Arc::clone(&self.name), key: self.key }
    }
}

impl Entrance {
    pub fn new(address: SocketAddr, name: impl Into<Arc<str>>) -> Self {
        Gate::new(At::Address(address), name).entrance(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_name_and_nothing_else() {
        let name = |name: &str, port| Some(At::Name(name.into(), port));
        assert_eq!(At::parse("127.0.2.1:8080"), Some(At::Address("127.0.2.1:8080".parse().unwrap())));
        assert_eq!(At::parse("[::1]:8080"), Some(At::Address("[::1]:8080".parse().unwrap())));
        assert_eq!(
            At::parse("gateway.shared-1.svc.cluster.local:8080"),
            name("gateway.shared-1.svc.cluster.local", 8080)
        );
        for wrong in
            ["", "gateway", "gateway:", "gateway:0", "gateway:65536", ":80", "Gate.Way:80", "a b:80", "127.0.0.1"]
        {
            assert_eq!(At::parse(wrong), None, "{wrong}");
        }
    }
}
