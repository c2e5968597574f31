//! Listeners: mTLS for the platform's own traffic, plain for a process's operators.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tower_http::catch_panic::CatchPanicLayer;
use trace::Tracer;

use super::access::{Access, record};
use super::unread::Unread;
use crate::fault::{Kind, Problem};
use crate::metrics::Metrics;
use crate::tasks::{Policy, Tasks};
use crate::tls::{Identity, TlsError, peer_spiffe_id};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long, and for how many bytes, a refused peer is heard out until it closes.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 * 1024;
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// More connections than this wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
const MAX_STREAMS: u32 = 512;
/// Above what the router admits, so that the router's answer is the one a client sees.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const KEEPALIVE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{address} cannot be listened on: is another process using the port?")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// SPIFFE id of the peer, in every request's extensions.
#[derive(Debug, Clone)]
pub struct Peer(pub Arc<str>);

/// Says which peers may connect, by SPIFFE id.
pub type Admits = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// One mTLS listener of a service.
pub struct Server {
    pub service: &'static str,
    pub address: SocketAddr,
    pub identity: Identity,
    pub admits: Admits,
    pub metrics: Metrics,
    pub tracer: Tracer,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("service", &self.service).field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds now and serves in the background until the tasks are drained.
    pub async fn start(self, tasks: &Tasks, router: Router) -> Result<(), ServeError> {
        let address = self.address;
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        let acceptor = TlsAcceptor::from(Arc::new(self.identity.server()?));
        let access = Access { service: self.service, metrics: self.metrics, tracer: self.tracer };
        let router = dress(router, access);
        let (stopping, admits) = (tasks.stopping(), self.admits);
        tasks.spawn(format!("{} on {address}", self.service), Policy::EndProcess, async move {
            accept(listener, stopping, move |tcp, closing| {
                let (acceptor, router, admits) = (acceptor.clone(), router.clone(), Arc::clone(&admits));
                async move {
                    if let Some((tls, peer)) = handshake(tcp, acceptor, admits).await {
                        connection(TokioIo::new(tls), router, Some(peer), closing).await;
                    }
                }
            })
            .await;
            Ok(())
        });
        Ok(())
    }
}

/// What every router wears: the access log outermost, a net under panics, a problem for 404.
fn dress(router: Router, access: Access) -> Router {
    let panicked = |_: Box<dyn std::any::Any + Send>| {
        use axum::response::IntoResponse as _;
        tracing::error!("a request handler panicked");
        Problem::new(Kind::Internal, "cell/internal", "Something failed on our side.").into_response()
    };
    router
        .fallback(|| async { Problem::new(Kind::NotFound, "request/no-such-path", "There is nothing at this path.") })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(access, record))
}

/// Serves `router` without TLS: for operators on loopback or the pod network only.
pub async fn serve_plain(
    tasks: &Tasks,
    name: &'static str,
    address: SocketAddr,
    router: Router,
) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
    let stopping = tasks.stopping();
    tasks.spawn(format!("{name} on {address}"), Policy::EndProcess, async move {
        accept(listener, stopping, move |tcp, closing| connection(TokioIo::new(tcp), router.clone(), None, closing))
            .await;
        Ok(())
    });
    Ok(())
}

/// Accepts until told to stop, then lets the connections finish what is in flight.
async fn accept<F, C>(listener: TcpListener, stopping: CancellationToken, serve: F)
where
    F: Fn(TcpStream, CancellationToken) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let place = tokio::select! {
            () = stopping.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let tcp = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to be closed.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if tcp.set_nodelay(true).is_err() {
            continue;
        }
        let work = serve(tcp, stopping.clone());
        connections.spawn(async move {
            let _place = place;
            work.await;
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn handshake(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    admits: Admits,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Peer)> {
    let tls = match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake refused");
            return None;
        }
        Err(_) => return None,
    };
    let id = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(peer_spiffe_id)?;
    if !admits(&id) {
        tracing::warn!(peer = id, "a peer that may not connect was refused");
        farewell(tls).await;
        return None;
    }
    Some((tls, Peer(id.into())))
}

/// Ends a connection so that the peer learns of it: with a close of TLS, and with nothing left unread, which
/// would make the kernel reset the connection and take the close away.
async fn farewell(mut tls: tokio_rustls::server::TlsStream<TcpStream>) {
    let farewell = async {
        tls.shutdown().await?;
        tokio::io::copy(&mut tls.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    };
    // A peer that does not close in its turn is cut off.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

async fn connection<I>(io: I, router: Router, peer: Option<Peer>, stopping: CancellationToken)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| axum::body::Body::new(Unread::new(body)));
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        let mut router = router.clone();
        async move {
            // An axum router is always ready.
            Ok::<_, Infallible>(match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(HEADER_DEADLINE);
    let connection = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use bytes::Bytes;
    use http::StatusCode;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::sync::mpsc;

    use super::*;

    /// Long enough for a reset that was sent with the answer to arrive.
    const MEANWHILE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn only_a_long_body_that_nobody_reads_is_reset() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let router = Router::new().route("/", post(|| async { StatusCode::FORBIDDEN }));
        tokio::spawn(connection(TokioIo::new(far), router, None, CancellationToken::new()));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut client, driver) = handshake.await.unwrap();
        tokio::spawn(driver);
        for (length, is_reset) in [(2, false), (1 << 20, true)] {
            let (body, rest) = mpsc::channel::<Bytes>(1);
            let rest = futures::stream::unfold(rest, |mut rest| async move {
                let piece = rest.recv().await?;
                Some((Ok::<_, Infallible>(Frame::data(piece)), rest))
            });
            let request = Request::post("http://test/").header("content-length", length);
            let answer = client.send_request(request.body(StreamBody::new(Box::pin(rest))).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            assert_eq!(tokio::time::timeout(MEANWHILE, body.closed()).await.is_ok(), is_reset, "{length} bytes");
        }
    }
}
