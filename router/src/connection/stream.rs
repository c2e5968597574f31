//! A stream that ends itself when its guard's deadline passes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::guard::{Breach, Guard};
use crate::metrics::Metrics;

/// First bytes of every HTTP/2 connection (RFC 9113, 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Guarded {
    inner: Stream,
    /// Bytes looked at before they are read; the guard has seen them.
    peeked: BytesMut,
    /// First byte of the next request, come before the answer to this one was over; the guard has
    /// not seen it.
    early: Option<u8>,
    guard: Arc<Guard>,
    metrics: Arc<Metrics>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guarded").field(&self.inner).finish()
    }
}

impl Guarded {
    pub fn new(inner: Stream, guard: Arc<Guard>, metrics: Arc<Metrics>) -> Self {
        Self { inner, peeked: BytesMut::new(), early: None, guard, metrics, timer: None }
    }

    fn broken(&self, breach: Breach) -> io::Error {
        self.metrics.breach(breach.name());
        let kind = match breach {
            Breach::Idle | Breach::SlowHeader => io::ErrorKind::TimedOut,
            Breach::LargeHeader | Breach::Framing => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, breach)
    }

    /// Watches for the client's leaving while it is answered. The next request may come before the answer
    /// is over: pingora would take it for bytes after the body and end both. So it is kept back.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early.is_some() {
            // Nobody is woken: the next request's first read finds it.
            return Poll::Pending;
        }
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
        match buf.filled().first() {
            None => Poll::Ready(Ok(())),
            Some(byte) => {
                self.early = Some(*byte);
                Poll::Pending
            }
        }
    }

    /// Waits for the deadline, if there is one; wakes the reader when it passes.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some((at, breach)) = self.guard.deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        let at = tokio::time::Instant::from_std(at);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(self.broken(breach))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.peeked.is_empty() {
            let read = this.peeked.split_to(this.peeked.len().min(buf.remaining()));
            buf.put_slice(&read);
            return Poll::Ready(Ok(()));
        }
        if this.guard.is_answering() {
            return this.poll_early(cx);
        }
        if let Some(byte) = this.early.take() {
            buf.put_slice(&[byte]);
            return Poll::Ready(this.guard.feed(&[byte], Instant::now()).map_err(|breach| this.broken(breach)));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let read = buf.filled().get(before..).unwrap_or_default();
                Poll::Ready(this.guard.feed(read, Instant::now()).map_err(|breach| this.broken(breach)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Guarded {
    /// For the HTTP/2 preface, or for the first byte of all. What cannot become a preface is not waited for: an HTTP/1
    /// request may be shorter.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let mut ahead = std::mem::take(&mut self.peeked);
        while ahead.len() < buf.len() && PREFACE.starts_with(&ahead) {
            let free = &mut buf[ahead.len()..];
            match self.read(free).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => ahead.extend_from_slice(&free[..read]),
            }
        }
        let seen = ahead.len().min(buf.len());
        buf[..seen].copy_from_slice(&ahead[..seen]);
        self.peeked = ahead;
        Ok(true)
    }
}
