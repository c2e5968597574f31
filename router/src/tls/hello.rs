//! Whom a client asks for, read from the first bytes of TLS, before any handshake.

use rustls::server::Acceptor;

/// What is known of a client's hello. Deterministic; knows no clock and no transport.
#[derive(Default)]
pub struct Hello(Acceptor);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It has not ended yet.
    Partly,
    For(String),
    /// It names nobody, or is none: the handshake says what is wrong with it.
    Nobody,
}

impl Hello {
    /// Takes what came next.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Asked {
        while !bytes.is_empty() {
            if !matches!(self.0.read_tls(&mut bytes), Ok(1..)) {
                return Asked::Nobody;
            }
            match self.0.accept() {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    let name = whole.client_hello().server_name().map(str::to_owned);
                    return name.map_or(Asked::Nobody, Asked::For);
                }
                Err(_) => return Asked::Nobody,
            }
        }
        Asked::Partly
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What a client says first.
    fn hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        said
    }

    #[test]
    fn the_name_is_read_however_the_hello_is_cut() {
        let said = hello("data.acme.example");
        for cut in [1, 2, 7, 100, said.len()] {
            let mut reading = Hello::default();
            let asked: Vec<Asked> = said.chunks(cut).map(|piece| reading.feed(piece)).collect();
            let (last, before) = asked.split_last().unwrap();
            assert_eq!(last, &Asked::For("data.acme.example".into()), "pieces of {cut}");
            assert!(before.iter().all(|asked| *asked == Asked::Partly));
        }
    }

    #[test]
    fn who_names_nobody_asks_for_nobody() {
        // An address is not told as a name.
        assert_eq!(Hello::default().feed(&hello("192.0.2.1")), Asked::Nobody);
        for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"SSH-2.0-x\r\n"] {
            assert_eq!(Hello::default().feed(other), Asked::Nobody, "{other:?}");
        }
    }
}
