//! A certificate authority and the identities of the test's peers.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, SerialNumber};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.as_ref().der().clone()
    }

    fn issue(&self, names: &[&str], spiffe: &str) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        // OpenSSL takes a certificate that bears its issuer's name for self-signed.
        params.distinguished_name.push(DnType::CommonName, spiffe);
        params.subject_alt_names.push(SanType::URI(spiffe.try_into().unwrap()));
        params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 8]>()));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &*self.0).unwrap(), key)
    }

    /// Writes an identity folder as the site's supervisor does.
    pub fn write_identity(&self, dir: &Path) {
        let own = dir.join("router");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(dir.join("ca.pem"), self.pem()).unwrap();
        // No client accepts a wildcard right below a top-level name such as `localhost`.
        let names = ["router.router.cytoplane.internal", "localhost", "acme.localhost", "127.0.0.1"];
        let (cert, key) = self.issue(&names, "spiffe://cytoplane/router/router");
        std::fs::write(own.join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(own.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Writes a pair for one name.
    pub fn write_pair(&self, dir: &Path, name: &str) {
        std::fs::create_dir_all(dir).unwrap();
        let (cert, key) = self.issue(&[name], &format!("spiffe://cytoplane/names/{name}"));
        std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// Server side of a peer that asks for a client certificate of this authority.
    pub fn server(&self, name: &str, spiffe: &str) -> Arc<ServerConfig> {
        let (cert, key) = self.issue(&[name], spiffe);
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}
