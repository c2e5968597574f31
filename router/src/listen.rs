//! Sockets and the services behind them, with every setting pingora's defaults get wrong for a door
//! to the internet.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::listening::Service;
use tokio::sync::watch;

use crate::config::{Config, Limits};
use crate::connection::{Addresses, Bounds, Connection, Handshakes, Passing};
use crate::decision::Door;
use crate::handover::Sockets;
use crate::proxy::{Proxy, Shared, TRIES};
use crate::shutdown::Draining;
use crate::tls::{Names, Pair, TlsError, listener, names};

/// Receive window of one client stream, and of a client's connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Per connection, also while it idles. Most headers fit; bodies are read past it.
const READ_BUFFER: usize = 2 * 1024;
/// A TLS record's plaintext.
const TLS_READ_BUFFER: usize = 16 * 1024;
const WRITE_BUFFER: usize = 2 * 1024;
/// Slack above the header bound, so that a header slightly too large is answered 431.
const HEADER_SLACK: usize = 8 * 1024;
const REQUESTS_PER_CONNECTION: u32 = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Binds before anything starts: a taken port ends the process with one clear line.
///
/// A predecessor's socket is used if the door is configured as its was. A copy goes to `held`.
pub fn socket(
    door: &str,
    address: SocketAddr,
    inherited: &mut Sockets,
    held: &mut Sockets,
) -> Result<TcpListener, ListenError> {
    let refuse = |source| ListenError::Bind { address, source };
    let listener = match inherited.take(door, address) {
        Some(listener) => listener,
        None => TcpListener::bind(address).map_err(refuse)?,
    };
    listener.set_nonblocking(true).map_err(refuse)?;
    held.add(door, address, listener.try_clone().map_err(refuse)?);
    tracing::info!(door, address = %listener.local_addr().unwrap_or(address), "listening");
    Ok(listener)
}

/// pingora's own configuration. It is given to the server before anything is built from it.
pub fn server_conf(config: &Config, ca_file: &std::path::Path) -> ServerConf {
    ServerConf {
        threads: config.threads,
        work_stealing: false,
        ca_file: Some(ca_file.display().to_string()),
        upstream_keepalive_pool_size: config.limits.keepalive_pool,
        max_retries: TRIES,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        daemon: false,
        ..ServerConf::default()
    }
}

/// One listening service per door.
pub struct Doors<'a> {
    pub config: &'a Config,
    pub conf: &'a Arc<ServerConf>,
    pub shared: &'a Arc<Shared>,
    pub closing: &'a watch::Receiver<bool>,
    pub open: &'a watch::Receiver<bool>,
    /// Of all doors together.
    pub addresses: Arc<Addresses>,
}

impl Doors<'_> {
    /// Makes every door of the configuration, on a predecessor's socket where there is one. Copies of the sockets go
    /// to `held`.
    pub fn make(
        &self,
        inherited: &mut Sockets,
        held: &mut Sockets,
    ) -> Result<Vec<Draining<Service<Connection>>>, ListenError> {
        let listen = &self.config.listen;
        let all = [
            (Door::Http, listen.http),
            (Door::Https, listen.https),
            (Door::Flight, listen.flight),
            (Door::FlightTls, listen.flight_tls),
        ];
        let names = match listen.https.or(listen.flight_tls) {
            Some(_) => {
                let (cert, key) = self.config.server_certificate();
                Some(names(&Pair::load(&cert, &key)?, self.config.tls.names.as_deref())?)
            }
            None => None,
        };
        let mut services = Vec::new();
        for (door, address) in all {
            if let Some(address) = address {
                let socket = socket(door.name(), address, inherited, held)?;
                services.push(self.service(door, address, socket, names.as_ref())?);
            }
        }
        Ok(services)
    }

    fn service(
        &self,
        door: Door,
        address: SocketAddr,
        socket: TcpListener,
        names: Option<&Arc<Names>>,
    ) -> Result<Draining<Service<Connection>>, ListenError> {
        let name = socket.local_addr().unwrap_or(address).to_string();
        let read = if door.is_tls() { TLS_READ_BUFFER } else { READ_BUFFER };
        let mut endpoint = ListenerConfig::tcp(name.clone()).l4_buffer(L4BufferSettings::new(read, WRITE_BUFFER));
        let names = names.filter(|_| door.is_tls());
        if let Some(names) = names {
            endpoint = endpoint.tls(listener(names.clone(), door == Door::Https, self.config.threads)?);
        }
        let handshakes = names.map(|_| Arc::new(Handshakes::default()));
        let connection = self.connection(door, handshakes.clone());
        let mut service = Service::new(format!("router {}", door.name()), connection);
        service.add_listener(endpoint);
        if let Some((names, handshakes)) = names.cloned().zip(handshakes) {
            let (shared, addresses) = (self.shared.clone(), self.addresses.clone());
            service.endpoints().set_pre_tls_callback(Arc::new(Passing { shared, door, names, addresses, handshakes }));
        }
        let mut sockets = Fds::new();
        sockets.add(name.clone(), socket.into_raw_fd());
        let sockets: ListenFds = Arc::new(Mutex::new(sockets));
        Ok(Draining { inner: service, closing: self.closing.clone(), open: self.open.clone(), sockets })
    }

    fn connection(&self, door: Door, handshakes: Option<Arc<Handshakes>>) -> Connection {
        let limits = &self.config.limits;
        let mut proxy = http_proxy(self.conf, Proxy { shared: self.shared.clone(), door });
        proxy.server_options = Some(server_options(door, limits));
        proxy.h2_options = Some(h2_options(limits));
        Connection {
            proxy: Arc::new(proxy),
            in_flight: self.shared.in_flight.clone(),
            metrics: self.shared.knowledge.metrics.clone(),
            bounds: Bounds {
                idle: limits.keepalive(),
                header_time: limits.header_time(),
                header_bytes: limits.header_bytes + HEADER_SLACK,
            },
            addresses: self.addresses.clone(),
            handshakes,
        }
    }
}

fn server_options(door: Door, limits: &Limits) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2c = !door.is_tls();
    options.allow_connect_method_proxying = false;
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(Duration::from_secs(limits.h2_idle_seconds));
    options
}

fn h2_options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    options.max_concurrent_streams(limits.h2_streams);
    options.initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options
}
