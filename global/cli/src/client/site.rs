//! Where a site's doors are, as its state directory tells.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use serde::Deserialize;

use crate::place::Place;

/// Addresses a client needs; everything goes through the router.
#[derive(Debug, Clone)]
pub struct Site {
    pub http: SocketAddr,
    pub flight: SocketAddr,
}

#[derive(Debug, Deserialize, Default)]
struct File {
    router: Option<RouterSection>,
}

#[derive(Debug, Deserialize)]
struct RouterSection {
    http: Option<String>,
    flight: Option<String>,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Site {
    /// Reads `<state>/site.toml`; a place without one is the laptop's default addresses.
    pub fn read(place: &Place) -> anyhow::Result<Self> {
        let path = place.state.join("site.toml");
        let file: File = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let router = file.router.unwrap_or(RouterSection { http: None, flight: None });
        Ok(Self {
            http: address(router.http, SocketAddr::new(LOOPBACK, 8080))?,
            flight: address(router.flight, SocketAddr::new(LOOPBACK, 50133))?,
        })
    }
}

/// Accepts `ip:port` with or without a scheme.
fn address(text: Option<String>, default: SocketAddr) -> anyhow::Result<SocketAddr> {
    let Some(text) = text else { return Ok(default) };
    let bare = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest).trim_end_matches('/');
    bare.parse().with_context(|| format!("{text:?} in site.toml is not an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_carry_a_scheme() {
        let default = SocketAddr::new(LOOPBACK, 1);
        for text in ["127.0.0.9:8080", "http://127.0.0.9:8080", "grpc://127.0.0.9:8080/"] {
            assert_eq!(address(Some(text.to_owned()), default).unwrap().to_string(), "127.0.0.9:8080");
        }
        assert_eq!(address(None, default).unwrap(), default);
        assert!(address(Some("acme.localhost".to_owned()), default).is_err());
    }
}
