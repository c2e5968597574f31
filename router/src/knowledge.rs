//! What the router knows of the world: table, keys, revocations, cards, names. Read without locks, replaced whole.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use contracts::{Generation, TenantId};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

use crate::cards::Cards;
use crate::fairness::Shares;
use crate::metrics::{FeedLabel, Metrics};
use crate::names::Names;
use crate::revoked::Revoked;
use crate::shelf::{Found, Kind, Shelf};
use crate::table::View;
use crate::token::Keys;

/// Longest wait of a request for a key it was signed with, or for a newer placement.
const KEY_PATIENCE: Duration = Duration::from_secs(1);

pub struct Knowledge {
    view: ArcSwap<View>,
    keys: ArcSwapOption<Keys>,
    revoked: ArcSwap<Revoked>,
    cards: ArcSwap<Cards>,
    names: ArcSwap<Names>,
    shares: ArcSwap<Shares>,
    /// Wakes those who wait for it in the order in which they came.
    table_moved: Notify,
    keys_moved: watch::Sender<u64>,
    cards_moved: watch::Sender<u64>,
    /// Unix second at which the routing feed was last heard; 0 = never.
    heard: AtomicI64,
    /// Asks the key feed for a fetch out of turn.
    pub keys_wanted: Notify,
    /// Asks the routing feed not to sit out its pause.
    pub table_wanted: Notify,
    pub shelves: Shelves,
    pub metrics: Arc<Metrics>,
}

/// Where each kind is kept.
pub struct Shelves {
    pub routing: Shelf,
    pub keys: Shelf,
    pub revocations: Shelf,
    pub cards: Shelf,
    pub names: Shelf,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Knowledge {
    /// Starts from the last good snapshots. Nothing on disk is a fresh start, not a fault.
    pub fn load(data_dir: &Path, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        std::fs::create_dir_all(data_dir)?;
        let shelves = Shelves {
            routing: Shelf::new(data_dir, Kind::Routing)?,
            keys: Shelf::new(data_dir, Kind::Keys)?,
            revocations: Shelf::new(data_dir, Kind::Revocations)?,
            cards: Shelf::new(data_dir, Kind::Cards)?,
            names: Shelf::new(data_dir, Kind::Names)?,
        };
        let view = shelves.routing.newest(|version, bytes| View::read(version, bytes).map_err(|e| e.to_string()))?;
        let keys = shelves.keys.newest(|_, bytes| Keys::read(&bytes).map_err(|e| e.to_string()))?;
        let revoked = shelves.revocations.newest(|_, bytes| Revoked::read(&bytes))?;
        let cards = shelves.cards.newest(|_, bytes| Cards::read(&bytes))?;
        let names = shelves.names.newest(|_, bytes| Names::read(&bytes))?;
        let view = report("routing", view, &metrics).unwrap_or_default();
        let keys = report("keys", keys, &metrics).map(Arc::new);
        let revoked = report("revocations", revoked, &metrics).unwrap_or_default();
        let cards = report("key_cards", cards, &metrics).unwrap_or_default();
        let names = report("names", names, &metrics).unwrap_or_default();
        Ok(Self {
            table_moved: Notify::new(),
            keys_moved: watch::channel(0).0,
            cards_moved: watch::channel(cards.seq).0,
            view: ArcSwap::from_pointee(view),
            keys: ArcSwapOption::new(keys),
            revoked: ArcSwap::from_pointee(revoked),
            cards: ArcSwap::from_pointee(cards),
            names: ArcSwap::from_pointee(names),
            shares: ArcSwap::default(),
            heard: AtomicI64::new(0),
            keys_wanted: Notify::new(),
            table_wanted: Notify::new(),
            shelves,
            metrics,
        })
    }

    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    pub fn revoked(&self) -> Arc<Revoked> {
        self.revoked.load_full()
    }

    pub fn replace_view(&self, view: View) {
        self.view.store(Arc::new(view));
        self.table_moved.notify_waiters();
    }

    pub fn replace_keys(&self, keys: Keys) {
        self.keys.store(Some(Arc::new(keys)));
        self.keys_moved.send_modify(|count| *count += 1);
    }

    pub fn replace_revoked(&self, revoked: Revoked) {
        self.revoked.store(Arc::new(revoked));
    }

    pub fn cards(&self) -> Arc<Cards> {
        self.cards.load_full()
    }

    pub fn replace_cards(&self, cards: Cards) {
        let seq = cards.seq;
        self.cards.store(Arc::new(cards));
        self.cards_moved.send_replace(seq);
    }

    /// Where the names of cells lead.
    pub fn names(&self) -> Arc<Names> {
        self.names.load_full()
    }

    pub fn replace_names(&self, names: Names) {
        self.names.store(Arc::new(names));
    }

    /// Follows the cards: moves when there are newer ones.
    pub fn cards_moved(&self) -> watch::Receiver<u64> {
        self.cards_moved.subscribe()
    }

    /// What this router may allow each tenant, of its whole limit.
    pub fn shares(&self) -> Arc<Shares> {
        self.shares.load_full()
    }

    pub fn share_of(&self, tenant: &TenantId) -> u32 {
        self.shares.load().of(tenant)
    }

    pub fn replace_shares(&self, shares: Shares) {
        self.shares.store(Arc::new(shares));
    }

    /// The routing feed was heard, whatever it said.
    pub fn hear(&self) {
        self.heard.store(now(), Ordering::Relaxed);
    }

    /// Seconds since the routing feed was last heard.
    pub fn age(&self) -> Option<i64> {
        match self.heard.load(Ordering::Relaxed) {
            0 => None,
            heard => Some((now() - heard).max(0)),
        }
    }

    /// Waits until the tenant's placement has reached a generation.
    pub async fn reach(&self, tenant: &TenantId, generation: Generation, patience: Duration) -> bool {
        let reached = || self.view.load().by_tenant(tenant).is_some_and(|seat| seat.generation >= generation);
        if reached() {
            return true;
        }
        self.table_wanted.notify_one();
        let wait = async {
            loop {
                let moved = self.table_moved();
                if reached() {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }

    /// Ends when there is another table than when this was called.
    fn table_moved(&self) -> Pin<Box<Notified<'_>>> {
        let mut moved = Box::pin(self.table_moved.notified());
        moved.as_mut().enable();
        moved
    }

    /// Asks for newer keys and waits a moment for them.
    pub async fn newer_keys(&self) -> bool {
        let mut moved = self.keys_moved.subscribe();
        self.keys_wanted.notify_one();
        matches!(tokio::time::timeout(KEY_PATIENCE, moved.changed()).await, Ok(Ok(())))
    }

    /// Waits until there are keys, from wherever.
    pub async fn keys_known(&self) {
        let mut moved = self.keys_moved.subscribe();
        while self.keys.load().is_none() {
            // The sender is ours: the wait cannot fail.
            let _ = moved.changed().await;
        }
    }

    /// Waits until requests can be placed.
    pub async fn ready(&self) {
        let mut keys = self.keys_moved.subscribe();
        loop {
            let table = self.table_moved();
            if self.unready().is_none() {
                return;
            }
            // The sender of keys is ours: the wait cannot fail.
            tokio::select! {
                () = table => {}
                _ = keys.changed() => {}
            }
        }
    }

    /// Why requests cannot be placed yet, if so.
    pub fn unready(&self) -> Option<&'static str> {
        if self.view.load().version() == 0 {
            return Some("no routing table yet");
        }
        self.keys.load().is_none().then_some("no keys yet")
    }
}

fn report<T>(what: &'static str, found: Found<T>, metrics: &Metrics) -> Option<T> {
    for reason in &found.refused {
        metrics.refused_data.get_or_create(&FeedLabel { feed: what }).inc();
        tracing::error!(what, %reason, "refused a snapshot on disk");
    }
    found.value
}
