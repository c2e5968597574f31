//! Reconcilers: key rotation, the revocation feed's wake-ups, purges.

use std::time::Duration;

use kit::tasks::Tasks;
use sqlx::postgres::PgListener;
use tokio::sync::watch;

use crate::domain::key::{KeyState, Schedule, Step, plan};
use crate::error::Error;
use crate::store::{devices, failures, key_cards, keys, sessions};
use crate::{Identity, ops};

const ROTATION_PAUSE: Duration = Duration::from_secs(5);
const PURGE_PAUSE: Duration = Duration::from_secs(60);
/// A missed notification delays a revocation by no more than this.
const FEED_POLL: Duration = Duration::from_secs(1);
/// Longest that a new key waits for its card.
const CARD_PAUSE: Duration = Duration::from_millis(500);
const PURGE_BATCH: i64 = 1000;

/// Brings the ring in the database up to its schedule, then loads it.
pub async fn rotate(identity: &Identity) -> Result<(), Error> {
    let settings = &identity.0.settings;
    let seconds = time::Duration::seconds;
    let schedule = Schedule {
        rotate: seconds(settings.rotation_seconds),
        publish: seconds(settings.publish_seconds),
        retire: seconds(settings.retire_seconds()),
    };
    let mut db = kit::database::begin(&identity.0.pool).await?;
    keys::lock(&mut db).await?;
    let mut stored = keys::all(&mut db).await?;
    let now = ops::now();
    let mut changed = false;
    while let Some(step) = plan(&keys::ages(&stored)?, now, schedule) {
        tracing::info!(?step, "signing keys change");
        match step {
            Step::CreateCurrent => keys::insert(&mut db, &identity.0.ring.generate(KeyState::Current, now)?).await?,
            Step::CreateNext => keys::insert(&mut db, &identity.0.ring.generate(KeyState::Next, now)?).await?,
            Step::Rotate => keys::rotate(&mut db, now).await?,
            Step::Forget { kid } => keys::forget(&mut db, &kid).await?,
        }
        stored = keys::all(&mut db).await?;
        changed = true;
    }
    if changed {
        keys::notify(&mut db).await?;
    }
    db.commit().await?;
    identity.0.ring.load(&stored)
}

async fn purge(identity: &Identity) -> Result<(), Error> {
    let mut db = identity.0.pool.acquire().await?;
    let floor = ops::now() - time::Duration::seconds(identity.0.settings.failure_window_seconds);
    failures::purge(&mut db, floor).await?;
    devices::purge(&mut db, PURGE_BATCH).await?;
    while sessions::purge(&mut db, PURGE_BATCH).await? >= PURGE_BATCH as u64 {}
    Ok(())
}

/// Follows notifications until the connection breaks. Other processes' rotations load here too.
async fn listen(identity: &Identity) -> Result<(), Error> {
    let mut listener = PgListener::connect_with(&identity.0.pool).await?;
    listener.listen_all([sessions::CHANNEL, key_cards::CHANNEL, keys::CHANNEL]).await?;
    loop {
        let mut db = identity.0.pool.acquire().await?;
        hear(&identity.0.revocation_head, sessions::revocation_head(&mut db).await?);
        hear(&identity.0.key_card_head, key_cards::head(&mut db).await?);
        drop(db);
        if let Ok(heard) = tokio::time::timeout(FEED_POLL, listener.recv()).await
            && heard?.channel() == keys::CHANNEL
        {
            rotate(identity).await?;
        }
    }
}

/// Wakes a feed's readers if its head is news.
fn hear(known: &watch::Sender<u64>, head: u64) {
    known.send_if_modified(|known| {
        let moved = *known != head;
        *known = head;
        moved
    });
}

/// Makes cards until none is due.
async fn issue(identity: &Identity) -> Result<(), Error> {
    while ops::key_cards::issue(identity).await? {}
    Ok(())
}

pub fn spawn(identity: &Identity, tasks: &Tasks) {
    tasks.every("identity: key rotation", ROTATION_PAUSE, identity, |i| async move { rotate(&i).await });
    tasks.every("identity: purge", PURGE_PAUSE, identity, |i| async move { purge(&i).await });
    tasks.every("identity: key cards", CARD_PAUSE, identity, |i| async move { issue(&i).await });
    tasks.every("identity: notifications", FEED_POLL, identity, |i| async move { listen(&i).await });
}
