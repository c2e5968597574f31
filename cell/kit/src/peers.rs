//! Clients to other services of the same cell (and to the global plane): mTLS, name pinned.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use contracts::services::{self, ServiceDeclaration};
use contracts::{CellId, headers};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tower::filter::AsyncFilterLayer;
use tower::timeout::TimeoutLayer;

use crate::Scope;
use crate::fault::{Fault, Kind};
use crate::patience::{CONNECT_TIMEOUT, Patience};
use crate::scope::ScopeError;
use crate::tls::{Identity, TlsError, server_name};

const KEEPALIVE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("no service of this cell is called {0}")]
    Unknown(String),
    #[error("{0} has no Flight port")]
    NoFlight(String),
    #[error("the peer's client cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl Fault for PeerError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
    fn code(&self) -> &'static str {
        "cell/peer-client"
    }
}

/// Makes clients to the cell's services, as one of them.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    cell: CellId,
    address: IpAddr,
    http: Mutex<HashMap<&'static str, PeerHttp>>,
    flight: Mutex<HashMap<&'static str, Channel>>,
}

impl Peers {
    pub fn new(identity: Identity, cell: CellId, address: IpAddr) -> Self {
        let (http, flight) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { identity, cell, address, http, flight }))
    }

    fn declaration(service: &str) -> Result<&'static ServiceDeclaration, PeerError> {
        services::find(service).ok_or_else(|| PeerError::Unknown(service.to_owned()))
    }

    /// The HTTP client of a service; one connection pool per service and process.
    pub fn http(&self, service: &str) -> Result<PeerHttp, PeerError> {
        let target = Self::declaration(service)?;
        if let Some(client) = self.0.http.lock().get(target.name) {
            return Ok(client.clone());
        }
        let name = server_name(self.0.cell.as_str(), target.name);
        let client = PeerHttp::patient(&self.0.identity, &name, SocketAddr::new(self.0.address, target.http_port))?;
        self.0.http.lock().insert(target.name, client.clone());
        Ok(client)
    }

    /// The HTTP client of a service of another cell, where tenancy says that it is.
    pub fn elsewhere(&self, cell: &CellId, service: &str, address: SocketAddr) -> Result<PeerHttp, PeerError> {
        PeerHttp::new(&self.0.identity, &server_name(cell.as_str(), service), address)
    }

    /// A lazy HTTP/2 channel to a service's Flight port.
    pub fn channel(&self, service: &str) -> Result<Channel, PeerError> {
        let target = Self::declaration(service)?;
        let port = target.flight_port.ok_or_else(|| PeerError::NoFlight(service.to_owned()))?;
        if let Some(channel) = self.0.flight.lock().get(target.name) {
            return Ok(channel.clone());
        }
        let tls = ClientTlsConfig::new()
            .domain_name(server_name(self.0.cell.as_str(), target.name))
            .ca_certificate(Certificate::from_pem(self.0.identity.ca_pem.as_slice()))
            .identity(tonic::transport::Identity::from_pem(
                self.0.identity.identity_pem.as_slice(),
                self.0.identity.identity_pem.as_slice(),
            ));
        let channel = Endpoint::from_shared(format!("https://{}:{port}", self.0.address))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| PeerError::Client(Box::new(error)))?
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect_with_connector_lazy(connector(SocketAddr::new(self.0.address, port)));
        self.0.flight.lock().insert(target.name, channel.clone());
        Ok(channel)
    }
}

/// Connects a channel to `address`, whatever its address is called.
fn connector(
    address: SocketAddr,
) -> impl tower::Service<
    Uri,
    Response = TokioIo<TcpStream>,
    Error = std::io::Error,
    Future: Future<Output = std::io::Result<TokioIo<TcpStream>>> + Send,
> + Clone {
    let patience = Patience::new(address);
    tower::service_fn(move |_: Uri| {
        let patience = patience.clone();
        async move {
            let stream = patience.connect().await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        }
    })
}

/// HTTP/2 over mTLS to one service.
#[derive(Debug, Clone)]
pub struct PeerHttp {
    client: reqwest::Client,
    base: Arc<str>,
}

impl PeerHttp {
    /// `name` is pinned in the server's certificate; `address` is where it listens.
    pub fn new(identity: &Identity, name: &str, address: SocketAddr) -> Result<Self, PeerError> {
        Self::build(identity, name, address, reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT))
    }

    /// The same for a peer that is waited for while it restarts.
    fn patient(identity: &Identity, name: &str, address: SocketAddr) -> Result<Self, PeerError> {
        let waits = AsyncFilterLayer::new(Patience::new(address));
        let connects = TimeoutLayer::new(CONNECT_TIMEOUT);
        let client = reqwest::Client::builder().connector_layer(connects).connector_layer(waits);
        Self::build(identity, name, address, client)
    }

    fn build(
        identity: &Identity,
        name: &str,
        address: SocketAddr,
        client: reqwest::ClientBuilder,
    ) -> Result<Self, PeerError> {
        let client = client
            .use_preconfigured_tls(identity.client()?)
            .resolve(name, address)
            .http2_prior_knowledge()
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_keep_alive_timeout(CONNECT_TIMEOUT)
            .http2_initial_stream_window_size(4 << 20)
            .http2_initial_connection_window_size(16 << 20)
            .no_proxy()
            .build()
            .map_err(|error| PeerError::Client(Box::new(error)))?;
        Ok(Self { client, base: format!("https://{name}:{}", address.port()).into() })
    }

    /// `https://<name>:<port>` without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// The pooled client itself, for requests that are built by hand.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A request on behalf of `scope`; `path` begins with `/`.
    pub fn request(
        &self,
        method: http::Method,
        path: &str,
        scope: &Scope,
    ) -> Result<reqwest::RequestBuilder, PeerError> {
        Ok(self.client.request(method, format!("{}{path}", self.base)).headers(scope.to_headers()?))
    }

    /// A request that belongs to no tenant, for the global plane's feeds.
    pub fn plain(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .header(headers::REQUEST_ID, uuid::Uuid::now_v7().to_string())
    }
}
