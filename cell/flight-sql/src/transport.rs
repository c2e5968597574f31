//! Channels for clients outside the cell; inside a cell `kit::peers` makes them.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{Error, Result};

/// Flow-control window of a connection and of each stream, in bytes. The HTTP/2 default of 64 KiB
/// stalls a result stream after every half batch.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Whom an `https` connection trusts.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM certificates trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Name expected in the server's certificate, when it is not the address's host.
    pub server_name: Option<String>,
    /// Who the client is, to a server that asks: its certificate and key, PEM.
    pub identity_pem: Option<Vec<u8>>,
}

/// Connects to `http://host:port` (plaintext) or `https://host:port`; `grpc://` and `grpc+tls://`,
/// as other Flight clients write them, mean the same.
pub async fn connect(address: &str, tls: Tls) -> Result<Channel> {
    let uri = address
        .replacen("grpc+tls://", "https://", 1)
        .replacen("grpc+tcp://", "http://", 1)
        .replacen("grpc://", "http://", 1);
    let encrypted = uri.starts_with("https://");
    let mut endpoint = Endpoint::from_shared(uri)
        .map_err(|_| Error::Address(address.to_owned()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if encrypted {
        let mut config = ClientTlsConfig::new();
        if let Some(pem) = tls.ca_pem {
            config = config.ca_certificate(Certificate::from_pem(pem));
        }
        if let Some(pem) = tls.identity_pem {
            config = config.identity(Identity::from_pem(&pem, &pem));
        }
        if let Some(name) = tls.server_name {
            config = config.domain_name(name);
        }
        endpoint = endpoint.tls_config(config).map_err(Error::Connect)?;
    }
    endpoint.connect().await.map_err(Error::Connect)
}
