//! The waiting room: a cell that refuses connections is most likely being restarted, so requests of which nothing was
//! sent yet wait for it a moment.
//!
//! One watcher per address looks whether it accepts again. Whoever comes when an address has refused for longer than
//! anybody waits is turned away at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Requests that wait, for all cells together; each holds a connection and a few KiB.
const PLACES: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After the patience has run out.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// An address that refuses for so long is looked at no more; whoever asks for it next begins anew.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

pub struct WaitingRoom {
    patience: Duration,
    places: Semaphore,
    down: Mutex<HashMap<SocketAddr, Down>>,
}

/// An address that refused.
#[derive(Clone)]
struct Down {
    since: Instant,
    back: watch::Receiver<bool>,
}

impl WaitingRoom {
    /// `patience` counts from an address's first refusal.
    pub fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self { patience, places: Semaphore::new(PLACES), down: Mutex::default() })
    }

    /// Waits until `address` accepts again; `false` if it did not in time, or nobody may wait any more.
    pub async fn wait(self: &Arc<Self>, address: SocketAddr) -> bool {
        let mut down = self.look(address);
        let left = self.patience.saturating_sub(down.since.elapsed());
        let Ok(_place) = self.places.try_acquire() else { return false };
        let back = timeout(left, down.back.wait_for(|back| *back)).await;
        matches!(back, Ok(Ok(_)))
    }

    /// Has the address watched.
    fn look(self: &Arc<Self>, address: SocketAddr) -> Down {
        let mut all = self.down.lock();
        if let Some(down) = all.get(&address) {
            return down.clone();
        }
        let (sender, back) = watch::channel(false);
        let down = Down { since: Instant::now(), back };
        all.insert(address, down.clone());
        tokio::spawn(Arc::clone(self).watch(address, down.since, sender));
        down
    }

    async fn watch(self: Arc<Self>, address: SocketAddr, since: Instant, back: watch::Sender<bool>) {
        tracing::warn!(%address, "refuses connections; requests for it wait");
        let accepts = loop {
            let passed = since.elapsed();
            if passed > GIVEN_UP_AFTER {
                break false;
            }
            sleep(if passed < self.patience { LOOK_EVERY } else { LOOK_SELDOM }).await;
            if matches!(timeout(LOOK_SELDOM, TcpStream::connect(address)).await, Ok(Ok(_))) {
                break true;
            }
        };
        self.down.lock().remove(&address);
        back.send_replace(accepts);
        tracing::info!(%address, accepts, ms = since.elapsed().as_millis(), "no longer waited for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address where nobody listens.
    fn refusing() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn all_who_wait_are_let_through_when_the_address_accepts() {
        let (room, address) = (WaitingRoom::new(Duration::from_secs(30)), refusing());
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { room.wait(address).await })
            })
            .collect();
        while room.places.available_permits() > PLACES - 50 {
            tokio::task::yield_now().await;
        }
        let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert!(room.down.lock().is_empty());
        assert_eq!(room.places.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn patience_is_of_the_address_and_not_of_each_request() {
        let (room, address) = (WaitingRoom::new(Duration::from_millis(200)), refusing());
        assert!(!room.wait(address).await);
        let begun = Instant::now();
        assert!(!room.wait(address).await);
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_full_room_turns_away_at_once() {
        let (room, address) = (WaitingRoom::new(Duration::from_secs(60)), refusing());
        let _all = room.places.acquire_many(PLACES as u32).await.unwrap();
        assert!(!room.wait(address).await);
    }
}
