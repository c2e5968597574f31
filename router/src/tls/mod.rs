//! Everything TLS: the provider, the router's identity, the clients' side and the cells' side.
//!
//! pingora's rustls support is young, so it is touched here and nowhere else.

mod hello;
mod names;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::tls::TlsRef;
use pingora::utils::tls::CertKey;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use hello::{Asked, Hello};
pub use names::Names;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no {what}")]
    Empty { path: PathBuf, what: &'static str },
    #[error("{path}: {reason}")]
    Unusable { path: PathBuf, reason: String },
}

/// Installs the one cryptography provider of the process. Call first in `main`.
pub fn install_provider() {
    // A second call finds the provider in place, which is what it wanted.
    let _ = ring::default_provider().install_default();
}

/// A certificate chain and its key, checked against each other.
pub struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Who the router is towards cells and the global plane.
pub struct Identity {
    pair: Pair,
    roots: Vec<CertificateDer<'static>>,
    ca_file: PathBuf,
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    let found = found.map_err(|source| TlsError::Read { path: path.into(), source })?;
    if found.is_empty() {
        return Err(TlsError::Empty { path: path.into(), what: "certificate" });
    }
    for certificate in &found {
        ParsedCertificate::try_from(certificate).map_err(|e| unusable(path, &e))?;
    }
    Ok(found)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.into(), reason: reason.to_string() }
}

impl Pair {
    pub fn load(cert: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let chain = certificates(cert)?;
        let pem = read(key_file)?;
        let key = rustls_pemfile::private_key(&mut pem.as_slice())
            .map_err(|source| TlsError::Read { path: key_file.into(), source })?
            .ok_or_else(|| TlsError::Empty { path: key_file.into(), what: "private key" })?;
        let pair = Self { chain, key };
        pair.certified().map_err(|e| unusable(key_file, &e))?;
        Ok(pair)
    }

    fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &ring::default_provider())
    }
}

impl Identity {
    /// `ca.pem`, `router/cert.pem` and `router/key.pem` in `dir`.
    pub fn load(dir: &Path) -> Result<Self, TlsError> {
        let ca_file = dir.join("ca.pem");
        let roots = certificates(&ca_file)?;
        let pair = Pair::load(&dir.join("router/cert.pem"), &dir.join("router/key.pem"))?;
        let identity = Self { pair, roots, ca_file };
        identity.feed_config()?;
        Ok(identity)
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Client side of the feeds: this identity, this CA, HTTP/2 only.
    pub fn feed_config(&self) -> Result<ClientConfig, TlsError> {
        let refuse = |e: rustls::Error| unusable(&self.ca_file, &e);
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).map_err(refuse)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(refuse)?;
        let mut config = builder
            .with_root_certificates(roots)
            .with_client_auth_cert(self.pair.chain.clone(), self.pair.key.clone_key())
            .map_err(refuse)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The same identity in pingora's form, for connections to cells.
    pub fn cell_key(&self) -> Arc<CertKey> {
        // Parsed once already, so that pingora's constructor cannot fail on them.
        let chain = self.pair.chain.iter().map(|certificate| certificate.to_vec()).collect();
        Arc::new(CertKey::new(chain, self.pair.key.secret_der().to_vec()))
    }
}

/// Name the client asked for in TLS, kept with its connection.
pub struct ServerName(pub String);

struct KeepServerName;

#[async_trait]
impl TlsAccept for KeepServerName {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let name = tls.server_name()?.to_owned();
        Some(Arc::new(ServerName(name)))
    }
}

/// What clients are shown: `pair`, and the certificates in the folder of other names'.
pub fn names(pair: &Pair, folder: Option<&Path>) -> Result<Arc<Names>, TlsError> {
    let certified = pair.certified().map_err(|e| unusable(Path::new("tls"), &e))?;
    Ok(Arc::new(Names::new(folder.map(Path::to_owned), certified)))
}

/// Server side towards clients. Handshakes run on `threads` of their own, so that a storm of them does not hold up
/// requests on open connections.
pub fn listener(names: Arc<Names>, http1: bool, threads: usize) -> Result<TlsSettings, TlsError> {
    let mut settings =
        TlsSettings::with_callbacks(Box::new(KeepServerName)).map_err(|e| unusable(Path::new("tls"), &e))?;
    settings.set_cert_resolver(names);
    settings.set_alpn(if http1 { pingora::protocols::ALPN::H2H1 } else { pingora::protocols::ALPN::H2 });
    settings.set_offload_threadpool(1, threads.max(1));
    Ok(settings)
}
