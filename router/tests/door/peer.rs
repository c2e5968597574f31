//! A stand-in for what is behind the door: HTTP/2 over mTLS, answering by path.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use contracts::shares::{Report, Shares, WHOLE};
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio_rustls::TlsAcceptor;

use crate::site::PATIENCE;

pub type Body = BoxBody<Bytes, std::io::Error>;

/// What a peer saw and how it behaves.
pub struct Behaviour {
    pub name: String,
    /// Requests below this generation are refused with 421.
    pub required: AtomicU64,
    /// They are told that their tenant is on its way.
    pub leaving: AtomicBool,
    /// Requests that came through the door; the router's own, for its feeds, are not among them.
    pub requests: AtomicUsize,
    pub connections: AtomicUsize,
    pub refused: AtomicUsize,
    /// Lines of the routing feed so far; the global stand-in only.
    pub feed: watch::Sender<Vec<String>>,
    pub jwks: Mutex<String>,
    pub revocations: watch::Sender<Vec<String>>,
    pub cards: watch::Sender<Vec<String>>,
    /// What routers are told of their shares, and what they reported; the global stand-in only.
    pub shares: parking_lot::Mutex<Shares>,
    pub reports: watch::Sender<Vec<Report>>,
    /// Lets `/held` answer.
    pub release: watch::Sender<bool>,
    /// Where a list is, requests of every path go there whole, in the order in which they ended.
    pub witnessed: parking_lot::Mutex<Option<Vec<Seen>>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            name: String::new(),
            required: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            feed: watch::Sender::default(),
            jwks: Mutex::default(),
            revocations: watch::Sender::default(),
            cards: watch::Sender::default(),
            shares: parking_lot::Mutex::new(Shares { rest: WHOLE, shares: Vec::new() }),
            reports: watch::Sender::default(),
            release: watch::Sender::default(),
            witnessed: parking_lot::Mutex::default(),
        }
    }
}

/// A request as it was read, to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub body: Bytes,
}

impl Seen {
    /// `None` if its body does not come whole.
    pub async fn of<B>(request: Request<B>) -> Option<Self>
    where
        B: hyper::body::Body<Data = Bytes>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let body = body.collect().await.ok()?.to_bytes();
        Some(Self { method: head.method.to_string(), path, body })
    }
}

pub struct Peer {
    pub address: SocketAddr,
    pub behaviour: Arc<Behaviour>,
    /// Bound as long as the peer is there: nobody else gets its port while it restarts.
    listener: std::net::TcpListener,
    stopping: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// Ends every connection and waits until its other end has let go of it too.
    pub async fn stop(&mut self) -> std::net::TcpListener {
        self.stopping.send_replace(true);
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("a connection is held").unwrap();
        self.listener.try_clone().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn start(name: &str, tls: Arc<ServerConfig>) -> Peer {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    start_on(listener, name, tls)
}

pub fn start_on(listener: std::net::TcpListener, name: &str, tls: Arc<ServerConfig>) -> Peer {
    let address = listener.local_addr().unwrap();
    let behaviour = Arc::new(Behaviour { name: name.into(), ..Behaviour::default() });
    let (stopping, stop) = watch::channel(false);
    let accepting = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let task = tokio::spawn(accept(accepting, TlsAcceptor::from(tls), behaviour.clone(), stop));
    Peer { address, behaviour, listener, stopping, task }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, behaviour: Arc<Behaviour>, mut stop: watch::Receiver<bool>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else { break };
        connections.spawn(connection(stream, tls.clone(), behaviour.clone(), stop.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, behaviour: Arc<Behaviour>, mut stop: watch::Receiver<bool>) {
    let Ok(mut stream) = tls.accept(stream).await else { return };
    behaviour.connections.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(move |request| {
        let behaviour = behaviour.clone();
        async move { Ok::<_, std::convert::Infallible>(serve(request, behaviour).await) }
    });
    let mut served = Box::pin(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(64 * 1024)
            .serve_connection(TokioIo::new(&mut stream), service),
    );
    tokio::select! {
        _ = &mut served => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(served);
    // The end, without a farewell; then whatever still comes, until the other side ends too.
    let (tcp, _) = stream.get_mut();
    let _ = tcp.shutdown().await;
    let _ = tokio::io::copy(tcp, &mut tokio::io::sink()).await;
}

pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

async fn serve(request: Request<Incoming>, behaviour: Arc<Behaviour>) -> Response<Body> {
    if request.headers().contains_key("forwarded") {
        behaviour.requests.fetch_add(1, Ordering::SeqCst);
    }
    let generation = header(&request, "x-cyto-generation").parse::<u64>().ok();
    let required = behaviour.required.load(Ordering::SeqCst);
    if generation.is_some_and(|generation| generation < required) {
        behaviour.refused.fetch_add(1, Ordering::SeqCst);
        return Response::builder()
            .status(421)
            .header("x-cyto-generation-required", required)
            .header(if behaviour.leaving.load(Ordering::SeqCst) { "x-cyto-leaving" } else { "x-other" }, "1")
            .body(full("moved"))
            .unwrap();
    }
    if behaviour.witnessed.lock().is_some() {
        let seen = Seen::of(request).await;
        if let (Some(list), Some(seen)) = (behaviour.witnessed.lock().as_mut(), seen) {
            list.push(seen);
        }
        return Response::new(full("seen"));
    }
    match request.uri().path() {
        "/internal/v1/routing" => lines(behaviour.feed.subscribe()),
        "/internal/v1/revocations" => lines(behaviour.revocations.subscribe()),
        "/internal/v1/key-cards" => lines(behaviour.cards.subscribe()),
        "/internal/v1/shares" => share(request, &behaviour).await,
        "/internal/v1/jwks" => Response::new(full(behaviour.jwks.lock().await.clone())),
        "/held" => {
            let _ = behaviour.release.subscribe().wait_for(|released| *released).await;
            Response::new(full("held but whole"))
        }
        "/refused-early" => Response::builder().status(403).body(full("refused unread")).unwrap(),
        "/refused-late" => refuse_late(request, &behaviour).await,
        "/collect" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes().len());
            Response::new(full(format!("{body:?}")))
        }
        "/echo" => echo(request, false),
        path if path.starts_with("/test.Echo/") => echo(request, true),
        _ => mirror(request, &behaviour),
    }
}

/// Takes a router's report and answers what it may use.
async fn share(request: Request<Incoming>, behaviour: &Behaviour) -> Response<Body> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let report = serde_json::from_slice(&body).unwrap();
    behaviour.reports.send_modify(|reports| reports.push(report));
    Response::new(full(serde_json::to_string(&*behaviour.shares.lock()).unwrap()))
}

/// Refuses only after it has taken more than a router keeps for a second try.
async fn refuse_late(request: Request<Incoming>, behaviour: &Behaviour) -> Response<Body> {
    let generation = header(&request, "x-cyto-generation");
    let mut pieces = request.into_body().into_data_stream();
    let mut taken = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        taken += piece.len();
        if taken > 100_000 {
            break;
        }
    }
    behaviour.refused.fetch_add(1, Ordering::SeqCst);
    Response::builder().status(421).header("x-cyto-generation-required", generation).body(full("late")).unwrap()
}

fn header(request: &Request<Incoming>, name: &str) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().into()
}

/// Answers with what arrived.
fn mirror(request: Request<Incoming>, behaviour: &Behaviour) -> Response<Body> {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let seen = serde_json::json!({
        "peer": behaviour.name, "method": request.method().as_str(), "path": request.uri().path(),
        "authority": request.uri().authority().map(|a| a.to_string()), "headers": headers,
    });
    Response::builder()
        .header("content-type", "application/json")
        .header("x-cyto-secret", "for the router only")
        .body(full(seen.to_string()))
        .unwrap()
}

/// Sends every piece of the request's body back as it comes, then trailers.
fn echo(request: Request<Incoming>, grpc: bool) -> Response<Body> {
    let content_type = header(&request, "content-type");
    let pieces = request.into_body().into_data_stream();
    let pieces = pieces.map(|piece| piece.map(Frame::data).map_err(std::io::Error::other));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-cyto-secret", "1".parse().unwrap());
    trailers.insert("x-own-trailer", "kept".parse().unwrap());
    let end = futures::stream::iter(grpc.then(|| Ok(Frame::trailers(trailers))));
    let body = BodyExt::boxed(StreamBody::new(pieces.chain(end)));
    Response::builder().header("content-type", content_type).body(body).unwrap()
}

/// A feed: what is there, then what comes, with a heartbeat.
fn lines(source: watch::Receiver<Vec<String>>) -> Response<Body> {
    let stream = futures::stream::unfold((source, 0), |(mut source, sent)| async move {
        if sent > 0 || source.borrow().is_empty() {
            let _ = tokio::time::timeout(Duration::from_secs(1), source.changed()).await;
        }
        let all = source.borrow_and_update().clone();
        let mut text: String = all.iter().skip(sent).map(|line| format!("{line}\n")).collect();
        if text.is_empty() {
            text.push('\n');
        }
        Some((Ok(Frame::data(Bytes::from(text))), (source, all.len())))
    });
    Response::new(BodyExt::boxed(StreamBody::new(Box::pin(stream).map(|f: Result<_, std::io::Error>| f))))
}
