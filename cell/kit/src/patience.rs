//! Connections to a service that refuses them for a moment: it is most likely being restarted, and nothing was sent yet.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tower::BoxError;
use tower::filter::AsyncPredicate;

/// Longest wait, from the first refusal on; whoever comes later is told at once.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Refusals further apart than this are not of one outage.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// For a peer that neither accepts nor refuses.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An outage as far as anybody has met it.
#[derive(Debug, Clone, Copy)]
struct Refusing {
    since: Instant,
    last: Instant,
}

/// One address of a peer and what is known of its refusals. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    address: SocketAddr,
    refusing: Arc<Mutex<Option<Refusing>>>,
}

impl Patience {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, refusing: Arc::default() }
    }

    /// A connection, as soon as the address accepts one.
    pub(crate) async fn connect(&self) -> Result<TcpStream> {
        loop {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await {
                Ok(Ok(stream)) => {
                    *self.refusing.lock() = None;
                    return Ok(stream);
                }
                Ok(Err(error))
                    if error.kind() == ErrorKind::ConnectionRefused && self.is_worth_a_wait(Instant::now()) =>
                {
                    sleep(LOOK_EVERY).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::new(ErrorKind::TimedOut, "the peer neither accepts nor refuses")),
            }
        }
    }

    /// Notes a refusal.
    fn is_worth_a_wait(&self, now: Instant) -> bool {
        let mut refusing = self.refusing.lock();
        let known = refusing.filter(|known| now - known.last < FORGOTTEN);
        let since = known.map_or(now, |known| known.since);
        *refusing = Some(Refusing { since, last: now });
        now - since < PATIENCE
    }
}

/// Lets a client's connector begin when the address accepts.
impl<R: Send + 'static> AsyncPredicate<R> for Patience {
    type Future = BoxFuture<'static, std::result::Result<R, BoxError>>;
    type Request = R;

    fn check(&mut self, request: R) -> Self::Future {
        let patience = self.clone();
        Box::pin(async move {
            patience.connect().await?;
            Ok(request)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// An address where nobody listens.
    fn refusing() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn whoever_waits_is_connected_when_the_address_accepts() {
        let patience = Patience::new(refusing());
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let patience = patience.clone();
                tokio::spawn(async move { patience.connect().await })
            })
            .collect();
        while patience.refusing.lock().is_none() {
            tokio::task::yield_now().await;
        }
        let _listener = TcpListener::bind(patience.address).await.unwrap();
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
        assert!(patience.refusing.lock().is_none());
    }

    #[test]
    fn patience_is_of_the_address_and_comes_back_after_an_outage() {
        let (patience, begun) = (Patience::new(refusing()), Instant::now());
        let worth_it = |seconds| patience.is_worth_a_wait(begun + Duration::from_secs(seconds));
        assert!(worth_it(0) && worth_it(4));
        assert!(!worth_it(5) && !worth_it(34) && !worth_it(63));
        assert!(worth_it(93) && worth_it(97));
        assert!(!worth_it(98));
    }

    #[tokio::test]
    async fn an_address_that_has_refused_for_long_is_not_waited_for() {
        let patience = Patience::new(refusing());
        let long_ago = Instant::now().checked_sub(PATIENCE).unwrap();
        patience.is_worth_a_wait(long_ago);
        assert_eq!(patience.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
