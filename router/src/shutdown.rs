//! Ending: stop listening, let what is in flight finish, never sleep for nothing.
//!
//! pingora's own graceful end sleeps a fixed time and then drops every task. This one closes the
//! listeners through a watch of its own, waits by counting, and only then lets pingora end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Idle HTTP/2 connections that do not heed GOAWAY are not waited for longer than this.
const IDLE_PATIENCE: Duration = Duration::from_millis(400);

/// What is under way.
#[derive(Debug, Default)]
pub struct InFlight {
    pub connections: AtomicUsize,
    pub requests: AtomicUsize,
}

impl InFlight {
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

/// Counts a request while it lives.
pub struct Busy(Arc<InFlight>);

impl Busy {
    pub fn new(in_flight: &Arc<InFlight>) -> Self {
        in_flight.requests.fetch_add(1, Ordering::AcqRel);
        Self(in_flight.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Turns signals into the end of the process.
pub struct Drain {
    pub closing: watch::Sender<bool>,
    /// A successor listens on the same sockets.
    pub taken: watch::Receiver<bool>,
    pub in_flight: Arc<InFlight>,
    pub deadline: Duration,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Drain {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals");
                return ShutdownSignal::FastShutdown;
            }
        };
        let mut taken = self.taken.clone();
        tokio::select! {
            () = signals.any() => {}
            Ok(_) = taken.wait_for(|taken| *taken) => {}
        }
        tracing::info!(requests = self.in_flight.requests(), "draining");
        self.closing.send_replace(true);
        tokio::select! {
            () = self.drained() => {}
            () = signals.any() => tracing::warn!(requests = self.in_flight.requests(), "second signal: ending at once"),
        }
        // Nothing is left for pingora to wait for.
        ShutdownSignal::FastShutdown
    }
}

impl Drain {
    async fn drained(&self) {
        let begun = Instant::now();
        let mut idle_since = None;
        while begun.elapsed() < self.deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.in_flight.requests() > 0 {
                idle_since = None;
                continue;
            }
            let idle = idle_since.get_or_insert_with(Instant::now).elapsed();
            if self.in_flight.connections() == 0 || idle > IDLE_PATIENCE {
                tracing::info!(ms = begun.elapsed().as_millis(), "drained");
                return;
            }
        }
        tracing::warn!(requests = self.in_flight.requests(), "drain deadline passed");
    }
}

/// A listening service that ends with [`Drain`] instead of with pingora, on sockets bound before.
pub struct Draining<S> {
    pub inner: S,
    pub closing: watch::Receiver<bool>,
    /// Whether to accept yet; a predecessor does until then.
    pub open: watch::Receiver<bool>,
    pub sockets: ListenFds,
}

#[async_trait]
impl<S: Service> Service for Draining<S> {
    async fn start_service(&mut self, _fds: Option<ListenFds>, _shutdown: ShutdownWatch, listeners_per_fd: usize) {
        // Its sender lives as long as the server.
        if self.open.wait_for(|open| *open).await.is_err() {
            return;
        }
        self.inner.start_service(Some(self.sockets.clone()), self.closing.clone(), listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads()
    }
}
