//! One tenant, its cell that writes down what it is sent, and raw bytes between them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Longest wait for the next bytes of an answer.
const WAIT: Duration = Duration::from_secs(3);
const RENEWED: Duration = Duration::from_secs(60);
/// Stands for the token in bytes that are sent.
pub const TOKEN: u8 = b'@';

pub struct Lane {
    pub host: String,
    tenant: String,
    /// And when it was signed: a million connections take longer than a token lasts.
    bearer: Mutex<(Instant, String)>,
    door: SocketAddr,
    cell: Arc<Behaviour>,
}

impl Lane {
    pub fn new(site: &Site, tenant: &str) -> Self {
        let peer = if tenant == "acme" { &site.shared } else { &site.dedicated };
        *peer.behaviour.witnessed.lock() = Some(Vec::new());
        let (host, bearer) = (format!("{tenant}.localhost"), Mutex::new((Instant::now(), token(tenant))));
        Self { host, tenant: tenant.to_owned(), bearer, door: site.router().http, cell: peer.behaviour.clone() }
    }

    /// The bytes with the tenant's token in its place.
    pub fn with_token(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bearer = self.bearer.lock();
        if bearer.0.elapsed() > RENEWED {
            *bearer = (Instant::now(), token(&self.tenant));
        }
        let mut whole = Vec::with_capacity(bytes.len() + bearer.1.len());
        for piece in bytes.split_inclusive(|byte| *byte == TOKEN) {
            match piece.split_last() {
                Some((&TOKEN, before)) => {
                    whole.extend_from_slice(before);
                    whole.extend_from_slice(b"Bearer ");
                    whole.extend_from_slice(bearer.1.as_bytes());
                }
                _ => whole.extend_from_slice(piece),
            }
        }
        whole
    }

    /// Sends bytes and takes `answers` of them, or fewer if the router closes or waits for more; then ends. What it
    /// answered, and whether it closed.
    pub async fn send(&self, bytes: &[u8], answers: usize) -> (Vec<u8>, bool) {
        let mut stream = TcpStream::connect(self.door).await.unwrap();
        // What is refused before its end may find the connection closed.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        while count(&answer) < answers {
            match tokio::time::timeout(WAIT, stream.read_buf(&mut answer)).await {
                Ok(Ok(read)) if read > 0 => {}
                Ok(_) => return (answer, true),
                Err(_) => break,
            }
        }
        let _ = stream.shutdown().await;
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("kept open");
        (answer, false)
    }

    /// What the cell has been sent since this was asked last.
    pub fn seen(&self) -> Vec<Seen> {
        self.cell.witnessed.lock().replace(Vec::new()).unwrap()
    }
}

/// Answers that end a request.
pub fn count(answer: &[u8]) -> usize {
    let begins = |mark: &[u8]| answer.windows(mark.len()).filter(|window| *window == mark).count();
    begins(b"HTTP/1.1 ") - begins(b"HTTP/1.1 100")
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

/// What has passed and was not read, or not as often.
pub fn unread(passed: Vec<Seen>, read: &[Seen]) -> Vec<Seen> {
    let mut left: HashMap<&Seen, usize> = HashMap::new();
    for one in read {
        *left.entry(one).or_default() += 1;
    }
    passed
        .into_iter()
        .filter(|one| left.get_mut(one).and_then(|left| Some(*left = left.checked_sub(1)?)).is_none())
        .collect()
}
