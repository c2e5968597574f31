//! The waiting room: a cell that refuses connections is most likely being restarted, so requests of which nothing was
//! sent yet wait for it a moment.
//!
//! One watcher per address looks whether it lets the router in again, and until then nobody else tries: a cell that
//! swallows connections would cost each of them its whole connect timeout. Whoever comes when an address has been away
//! for longer than anybody waits is turned away at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::probe::Probe;
use crate::table::Entrance;

/// Requests that wait, for all cells together; each holds a connection and a few KiB.
const PLACES: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After the patience has run out; also the longest that one look takes.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// An address that refuses for so long is looked at no more; whoever asks for it next begins anew.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

pub struct WaitingRoom {
    patience: Duration,
    places: Semaphore,
    probe: Probe,
    down: Mutex<HashMap<SocketAddr, Down>>,
    /// How many there are in `down`: on most days none, and then no request takes the lock.
    away: AtomicUsize,
}

/// An address at which nobody answers.
#[derive(Clone)]
struct Down {
    since: Instant,
    back: watch::Receiver<bool>,
}

impl WaitingRoom {
    /// `patience` counts from an address's first failure.
    pub fn new(patience: Duration, probe: Probe) -> Arc<Self> {
        let (places, down, away) = (Semaphore::new(PLACES), Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { patience, places, probe, down, away })
    }

    /// Waits until the address lets the router in again; `false` if it did not in time, or nobody may wait any more.
    pub async fn wait(self: &Arc<Self>, entrance: &Entrance) -> bool {
        let mut down = self.look(entrance);
        let left = self.patience.saturating_sub(down.since.elapsed());
        let Ok(_place) = self.places.try_acquire() else { return false };
        let back = timeout(left, down.back.wait_for(|back| *back)).await;
        matches!(back, Ok(Ok(_)))
    }

    /// Whether the address is being watched.
    pub fn is_away(&self, address: SocketAddr) -> bool {
        self.away.load(Ordering::Acquire) > 0 && self.down.lock().contains_key(&address)
    }

    /// A connection to it did not come about: has it watched until somebody answers there.
    pub fn missed(self: &Arc<Self>, entrance: &Entrance) {
        self.look(entrance);
    }

    fn look(self: &Arc<Self>, entrance: &Entrance) -> Down {
        let mut all = self.down.lock();
        if let Some(down) = all.get(&entrance.address) {
            return down.clone();
        }
        let (sender, back) = watch::channel(false);
        let down = Down { since: Instant::now(), back };
        all.insert(entrance.address, down.clone());
        self.away.store(all.len(), Ordering::Release);
        tokio::spawn(Arc::clone(self).watch(entrance.clone(), down.since, sender));
        down
    }

    async fn watch(self: Arc<Self>, entrance: Entrance, since: Instant, back: watch::Sender<bool>) {
        let address = entrance.address;
        tracing::warn!(%address, "nobody answers; requests for it wait");
        let answers = loop {
            if matches!(timeout(LOOK_SELDOM, (self.probe)(entrance.clone())).await, Ok(true)) {
                break true;
            }
            let passed = since.elapsed();
            if passed > GIVEN_UP_AFTER {
                break false;
            }
            sleep(if passed < self.patience { LOOK_EVERY } else { LOOK_SELDOM }).await;
        };
        {
            let mut all = self.down.lock();
            all.remove(&address);
            self.away.store(all.len(), Ordering::Release);
        }
        back.send_replace(answers);
        tracing::info!(%address, answers, ms = since.elapsed().as_millis(), "no longer waited for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address where nobody listens.
    fn refusing() -> Entrance {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Entrance::new(address, "nobody")
    }

    /// Content with a connection.
    fn room(patience: Duration) -> Arc<WaitingRoom> {
        WaitingRoom::new(
            patience,
            Box::new(|entrance| {
                Box::pin(async move { tokio::net::TcpStream::connect(entrance.address).await.is_ok() })
            }),
        )
    }

    #[tokio::test]
    async fn all_who_wait_are_let_through_when_the_address_accepts() {
        let (room, entrance) = (room(Duration::from_secs(30)), refusing());
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (room, entrance) = (room.clone(), entrance.clone());
                tokio::spawn(async move { room.wait(&entrance).await })
            })
            .collect();
        while room.places.available_permits() > PLACES - 50 {
            tokio::task::yield_now().await;
        }
        assert!(room.is_away(entrance.address));
        let _listener = tokio::net::TcpListener::bind(entrance.address).await.unwrap();
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert!(!room.is_away(entrance.address));
        assert_eq!(room.places.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn patience_is_of_the_address_and_not_of_each_request() {
        let (room, entrance) = (room(Duration::from_millis(200)), refusing());
        assert!(!room.wait(&entrance).await);
        let begun = Instant::now();
        assert!(!room.wait(&entrance).await);
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_full_room_turns_away_at_once() {
        let (room, entrance) = (room(Duration::from_secs(60)), refusing());
        let _all = room.places.acquire_many(PLACES as u32).await.unwrap();
        assert!(!room.wait(&entrance).await);
    }
}
