//! A TCP proxy between a process and what it depends on, whose mood can be changed while it runs.
//!
//! It reads no protocol, so TLS passes through untouched. A fault strikes the connections that are open
//! as well as those to come: a dependency that breaks does not spare the clients it has.

mod pipe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Pass,
    /// Open connections are reset; a new one is reset before a byte of it is read.
    Refuse,
    /// Every connection is reset once this many bytes have come back on it since the mood began.
    ResetAfter(u64),
    /// Each read of at most `chunk` bytes is held for `delay` before it goes on, in both directions.
    Slow {
        delay: Duration,
        chunk: usize,
    },
    /// Connections are accepted and stay open; nothing passes, and nothing is lost.
    Hold,
}

pub struct Proxy {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    accepted: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens at `at` (port 0: any) and connects each client to `target`.
    pub async fn start(at: SocketAddr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(at).await.with_context(|| format!("a proxy cannot listen at {at}"))?;
        let address = listener.local_addr()?;
        let mood = watch::Sender::new(Mood::Pass);
        let accepted = Arc::<AtomicU64>::default();
        let accepting = tokio::spawn(accept(listener, target, mood.subscribe(), accepted.clone()));
        Ok(Self { address, mood, accepted, accepting })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Connections accepted since the start, refused ones too: tells whether a client goes this way at all.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections end with the task that owns their set.
async fn accept(listener: TcpListener, target: SocketAddr, mood: watch::Receiver<Mood>, accepted: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    // An accept fails only for want of descriptors, which a test cannot go on without.
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(client, target, mood.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, target: SocketAddr, mood: watch::Receiver<Mood>) {
    // A dependency that is down looks through the proxy as it does without: the client is reset.
    let refuses = *mood.borrow() == Mood::Refuse;
    let server = if refuses { None } else { TcpStream::connect(target).await.ok() };
    let Some(mut server) = server else { return reset(&client) };
    if pipe::join(&mut client, &mut server, mood).await == pipe::End::Reset {
        reset(&client);
        reset(&server);
    }
}

/// The close that follows sends RST and throws away what is not sent yet.
fn reset(stream: &TcpStream) {
    // It fails only on a socket that is closed already.
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests;
