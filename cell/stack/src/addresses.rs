//! Where the parts of a site listen. Linux owns all of 127.0.0.0/8, so every part keeps its standard
//! port on an address of its own, and a second site lives beside the first under another second octet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};

pub const POSTGRES_PORT: u16 = 5432;
pub const NATS_PORT: u16 = 4222;
pub const NATS_MONITOR_PORT: u16 = 8222;
pub const KAFKA_PORT: u16 = 9092;
pub const KAFKA_CONTROLLER_PORT: u16 = 9093;
pub const RGW_PORT: u16 = 7480;
pub const MON_PORT: u16 = 6789;
pub const MON_V1_PORT: u16 = 6790;
pub const GLOBAL_PORT: u16 = 8443;
pub const ROUTER_HTTP_PORT: u16 = 8080;
pub const ROUTER_HTTPS_PORT: u16 = 8443;
pub const ROUTER_FLIGHT_PORT: u16 = 50133;
pub const ROUTER_ADMIN_PORT: u16 = 9090;
/// Nothing is served here: whoever listens has taken the octet.
const CLAIM_PORT: u16 = 1027;

/// The loopback addresses of one site: `127.<octet>.…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    octet: u8,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::with_octet(0)
    }
}

impl Addresses {
    pub const fn with_octet(octet: u8) -> Self {
        Self { octet }
    }

    /// Addresses that nobody has, never the default site's.
    pub fn spare() -> Result<Spare> {
        let start: u8 = rand::random_range(16..=250);
        (0..235u8)
            .find_map(|step| Self::with_octet(16 + (start - 16 + step) % 235).claim())
            .ok_or_else(|| Error::refused("no loopback address is free", "every 127.x.y.z tried is in use"))
    }

    /// A server takes seconds from choosing its address to listening there; the claim is made at once.
    fn claim(self) -> Option<Spare> {
        let held = TcpListener::bind(SocketAddr::new(self.at(255, 1), CLAIM_PORT)).ok()?;
        self.is_free().then_some(Spare { addresses: self, _held: held })
    }

    fn is_free(&self) -> bool {
        [
            (self.router(), ROUTER_HTTP_PORT),
            (self.global(), POSTGRES_PORT),
            (self.cell(1), POSTGRES_PORT),
            (self.cell(1), NATS_PORT),
            (self.cell(1), KAFKA_PORT),
            (self.ceph(), RGW_PORT),
        ]
        .into_iter()
        .all(|(ip, port)| TcpListener::bind(SocketAddr::new(ip, port)).is_ok())
    }

    fn at(&self, third: u8, fourth: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.octet, third, fourth))
    }

    pub fn octet(&self) -> u8 {
        self.octet
    }

    pub fn router(&self) -> IpAddr {
        self.at(0, 1)
    }

    pub fn global(&self) -> IpAddr {
        self.at(1, 1)
    }

    pub fn cell(&self, number: u8) -> IpAddr {
        self.at(2, number)
    }

    pub fn ceph(&self) -> IpAddr {
        self.at(3, 1)
    }
}

/// Addresses that no other process, and nobody else in this one, can choose while this lives.
#[derive(Debug)]
pub struct Spare {
    addresses: Addresses,
    _held: TcpListener,
}

impl Spare {
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_sites_share_no_address() {
        let (first, second) = (Addresses::default(), Addresses::with_octet(1));
        assert_eq!(first.cell(2).to_string(), "127.0.2.2");
        assert_eq!(first.router().to_string(), "127.0.0.1");
        assert_eq!(second.cell(2).to_string(), "127.1.2.2");
        assert_ne!(first.ceph(), second.ceph());
    }

    #[test]
    fn spare_addresses_are_given_once_and_are_not_the_default_ones() {
        let all: Vec<Spare> = (0..30).map(|_| Addresses::spare().unwrap()).collect();
        let octets: BTreeSet<u8> = all.iter().map(|spare| spare.addresses().octet()).collect();
        assert_eq!(octets.len(), all.len());
        assert!(octets.iter().all(|octet| *octet >= 16));
        let first = all[0].addresses();
        assert!(first.claim().is_none());
        drop(all);
        assert!(first.claim().is_some(), "given back");
    }
}
