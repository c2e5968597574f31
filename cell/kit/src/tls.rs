//! Who a process is: one certificate, the site's CA, and the peers it accepts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} holds no {what}")]
    Empty { path: PathBuf, what: &'static str },
    #[error("the TLS settings are not usable")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn settings(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError::Settings(error.into())
}

/// Makes ring the process's provider. The lock file holds more than one, so the choice is explicit.
pub fn install_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    let _already = rustls::crypto::ring::default_provider().install_default();
}

/// Certificate, key and CA of one service of this process.
#[derive(Clone)]
pub struct Identity {
    ca: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    /// The same in PEM, for clients that build their own TLS.
    pub(crate) ca_pem: Arc<Vec<u8>>,
    pub(crate) identity_pem: Arc<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Reads `<dir>/ca.pem` and `<dir>/<service>/{cert.pem,key.pem}`.
    pub fn load(dir: &Path, service: &str) -> Result<Self, TlsError> {
        let read = |path: PathBuf| std::fs::read(&path).map_err(|source| TlsError::Read { path, source });
        let (ca_path, cert_path, key_path) =
            (dir.join("ca.pem"), dir.join(service).join("cert.pem"), dir.join(service).join("key.pem"));
        let (ca_pem, cert_pem, key_pem) = (read(ca_path.clone())?, read(cert_path.clone())?, read(key_path.clone())?);
        let key = rustls_pemfile::private_key(&mut key_pem.as_slice())
            .map_err(settings)?
            .ok_or(TlsError::Empty { path: key_path, what: "private key" })?;
        Ok(Self {
            ca: certificates(&ca_pem, ca_path)?,
            chain: certificates(&cert_pem, cert_path)?,
            key: Arc::new(key),
            ca_pem: Arc::new(ca_pem),
            identity_pem: Arc::new([cert_pem, key_pem].concat()),
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for ca in &self.ca {
            roots.add(ca.clone()).map_err(settings)?;
        }
        Ok(roots)
    }

    /// A server that demands a certificate of the site's CA; who exactly is checked by
    /// [`peer_spiffe_id`] after the handshake.
    pub fn server(&self) -> Result<ServerConfig, TlsError> {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots()?)).build().map_err(settings)?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(settings)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    pub fn client(&self) -> Result<ClientConfig, TlsError> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(settings)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list: Vec<_> = rustls_pemfile::certs(&mut &*pem).collect::<Result<_, _>>().map_err(settings)?;
    if list.is_empty() { Err(TlsError::Empty { path, what: "certificate" }) } else { Ok(list) }
}

/// The `spiffe://` URI of a peer's certificate, which the handshake has verified already.
pub fn peer_spiffe_id(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some((*uri).to_owned()),
        _ => None,
    })
}

/// Name in a service's certificate that clients pin: `<service>.<part>.cytoplane.internal`.
pub fn server_name(part: &str, service: &str) -> String {
    format!("{service}.{part}.cytoplane.internal")
}
