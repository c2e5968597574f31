//! One tenant, its cell that writes down what it is sent, and raw bytes between them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{Behaviour, Seen};
use crate::site::{PATIENCE, Site};
use crate::tokens::token;

/// Stands for the token in bytes that are sent.
pub const TOKEN: u8 = b'@';

pub struct Lane {
    pub host: String,
    bearer: String,
    door: SocketAddr,
    cell: Arc<Behaviour>,
}

impl Lane {
    pub fn new(site: &Site, tenant: &str) -> Self {
        let peer = if tenant == "acme" { &site.shared } else { &site.dedicated };
        *peer.behaviour.witnessed.lock() = Some(Vec::new());
        let (host, bearer) = (format!("{tenant}.localhost"), format!("Bearer {}", token(tenant)));
        Self { host, bearer, door: site.router().http, cell: peer.behaviour.clone() }
    }

    /// The bytes with the tenant's token in its place.
    pub fn with_token(&self, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(bytes.len() + self.bearer.len());
        for piece in bytes.split_inclusive(|byte| *byte == TOKEN) {
            match piece.split_last() {
                Some((&TOKEN, before)) => {
                    whole.extend_from_slice(before);
                    whole.extend_from_slice(self.bearer.as_bytes());
                }
                _ => whole.extend_from_slice(piece),
            }
        }
        whole
    }

    /// Sends bytes and their end, and reads until the router closes; what it answered, and what the cell was sent.
    pub async fn send(&self, bytes: &[u8]) -> (Vec<u8>, Vec<Seen>) {
        let mut stream = TcpStream::connect(self.door).await.unwrap();
        // What is refused before its end may find the connection closed.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("kept open");
        (answer, self.cell.witnessed.lock().replace(Vec::new()).unwrap())
    }
}

/// What hyper's server reads in the same bytes.
pub async fn read_by_hyper(bytes: &[u8]) -> Vec<Seen> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request| {
        let seen = Arc::clone(&seen);
        async move {
            seen.lock().extend(Seen::of(request).await);
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let stream = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    // How it ends is no matter: what it read before counts.
    let _ = hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(stream, service).await;
    Arc::try_unwrap(seen).map_or_else(|seen| seen.lock().clone(), Mutex::into_inner)
}

/// Whether all that passed is among what was read, in the same order.
pub fn agrees(passed: &[Seen], read: &[Seen]) -> bool {
    let mut read = read.iter();
    passed.iter().all(|one| read.any(|other| other == one))
}
