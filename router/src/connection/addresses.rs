//! Connections of each client address, so that one cannot take them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Debug)]
pub struct Addresses {
    /// 0 = no limit.
    most: u32,
    /// Only those that have one.
    open: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub fn new(most: u32) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place, unless the address has as many connections as it may have.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { of: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.open.lock().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// One customer of a provider has a whole /64 of IPv6, and one address of IPv4 however it is written.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_places_of_its_own_and_gives_them_back() {
        let addresses = Addresses::new(2);
        let first = addresses.enter(address("192.0.2.1")).unwrap();
        let _second = addresses.enter(address("::ffff:192.0.2.1")).unwrap();
        assert!(addresses.enter(address("192.0.2.1")).is_none());
        assert!(addresses.enter(address("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.enter(address("192.0.2.1")).is_some());
        assert_eq!(addresses.open.lock().len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Addresses::new(1);
        let _one = addresses.enter(address("2001:db8::1")).unwrap();
        assert!(addresses.enter(address("2001:db8::2")).is_none());
        assert!(addresses.enter(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nothing_is_the_limit_of_none() {
        let addresses = Addresses::new(0);
        let all: Vec<_> = (0..1_000).map(|_| addresses.enter(address("192.0.2.1"))).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
