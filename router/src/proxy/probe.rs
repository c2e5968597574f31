//! Whether a cell lets the router in: one TCP and one TLS handshake, the same as a request's own.
//!
//! A frozen process still accepts TCP through its kernel, so a connection alone proves nothing.

use std::pin::Pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::table::Entrance;

/// Has no patience of its own: the caller bounds it.
pub type Probe = Box<dyn Fn(Entrance) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// With the router's identity; the certificate must carry the entrance's name.
pub fn handshake(config: ClientConfig) -> Probe {
    let tls = TlsConnector::from(Arc::new(config));
    Box::new(move |entrance| {
        let tls = tls.clone();
        Box::pin(async move {
            let Ok(name) = ServerName::try_from(entrance.name.to_string()) else { return false };
            let Ok(stream) = TcpStream::connect(entrance.address).await else { return false };
            tls.connect(name, stream).await.is_ok()
        })
    })
}
