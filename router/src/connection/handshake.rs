//! A client's socket while TLS is agreed on: pingora would wait a minute for each, however many one address has.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::protocols::{GetSocketDigest, SocketDigest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::addresses::Place;
use crate::metrics::Metrics;

/// Those of one door, by the client's address: no two sockets of a listener have the same.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<HashMap<SocketAddr, Arc<Handshake>>>);

#[derive(Debug)]
struct Handshake {
    is_over: AtomicBool,
    /// Its place among its address's connections.
    place: Mutex<Option<Place>>,
}

impl Handshakes {
    /// Puts a watch between a socket and its TLS, for so long.
    pub fn watch(
        self: &Arc<Self>,
        stream: &mut Stream,
        client: SocketAddr,
        place: Place,
        most: Duration,
        metrics: &Arc<Metrics>,
    ) {
        let handshake = Arc::new(Handshake { is_over: AtomicBool::new(false), place: Mutex::new(Some(place)) });
        self.0.lock().insert(client, Arc::clone(&handshake));
        let digest = stream.get_socket_digest();
        let inner = std::mem::replace(stream, nothing());
        let watched = Watched {
            inner,
            of: Arc::clone(self),
            client,
            handshake,
            timer: Some(Box::pin(sleep(most))),
            metrics: Arc::clone(metrics),
        };
        *stream = Stream::from(VirtualSocketStream::new(Box::new(watched)));
        if let Some(digest) = digest {
            stream.set_socket_digest(again(&digest));
        }
    }

    /// The handshake is over; its place is the connection's now.
    pub fn over(&self, client: SocketAddr) -> Option<Place> {
        let handshake = self.0.lock().remove(&client)?;
        handshake.is_over.store(true, Ordering::Release);
        handshake.place.lock().take()
    }
}

/// The same addresses, of a stream that has no descriptor of its own to ask.
fn again(digest: &SocketDigest) -> SocketDigest {
    let same = SocketDigest::from_raw_fd(-1);
    let _ = same.peer_addr.set(digest.peer_addr().cloned());
    let _ = same.local_addr.set(digest.local_addr().cloned());
    same
}

struct Watched {
    inner: Stream,
    of: Arc<Handshakes>,
    client: SocketAddr,
    handshake: Arc<Handshake>,
    /// None once the handshake was seen to be over.
    timer: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.handshake.is_over.load(Ordering::Acquire) {
            self.of.over(self.client);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.timer.is_some() && this.handshake.is_over.load(Ordering::Acquire) {
            this.timer = None;
        }
        if let Some(timer) = &mut this.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            this.metrics.breach("slow_handshake");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl VirtualSocket for Watched {
    /// The listener has set what there is to set.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

/// Stands in for a stream that is taken away.
pub fn nothing() -> Stream {
    Stream::from(VirtualSocketStream::new(Box::new(Nothing)))
}

#[derive(Debug)]
struct Nothing;

impl AsyncRead for Nothing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Nothing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl VirtualSocket for Nothing {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}
