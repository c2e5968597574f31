//! Somebody who waits for tenants' rows again and again, as a move does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::topic::Truth;
use super::verdict;
use super::world::World;
use crate::ops::wanted::Wish;

/// Between two wishes, virtual milliseconds.
const REST_MS: u64 = 600;

pub async fn wait_again_and_again(world: Arc<World>, ask: mpsc::Sender<Wish>) {
    loop {
        world.tarry(REST_MS).await;
        let tenant = if world.below(2) == 0 { "acme" } else { "globex" };
        let (topic, open) = ends(&world);
        if open.is_empty() {
            continue;
        }
        let (answer, heard) = oneshot::channel();
        let wish = Wish { tenant: contracts::TenantId::new(tenant).unwrap(), open: open.clone(), answer };
        world.note(format_args!("{tenant}'s rows are waited for, to {open:?}"));
        let Ok(()) = ask.send(wish).await else { return };
        let Ok(read) = heard.await else { return };
        world.note(format_args!("{tenant}'s rows of {read:?} are said to be in"));
        if let Err(reason) = all_are_in(&world, tenant, &topic, &open, &read).await {
            world.note(&reason);
            world.broken.lock().get_or_insert(reason);
        }
    }
}

/// The topic's id, and what the group has not dealt with.
fn ends(world: &World) -> (String, BTreeMap<i32, i64>) {
    let topic = world.topic.lock();
    let next = |partition| topic.committed.get(&partition).copied().unwrap_or(0);
    let ends = (0..).zip(&topic.partitions).map(|(partition, records)| (partition, records.len() as i64));
    (topic.id.clone(), ends.filter(|(partition, end)| next(*partition) < *end).collect())
}

/// Every row of the tenant's that was there when it was wished for.
async fn all_are_in(
    world: &World,
    tenant: &str,
    topic: &str,
    open: &BTreeMap<i32, i64>,
    read: &BTreeSet<i32>,
) -> Result<(), String> {
    let ids = verdict::ids(world).await?;
    if world.topic.lock().id != *topic {
        return Ok(());
    }
    if !read.is_empty() && world.fault == Fault::Leaving {
        world.strike();
    }
    let own: BTreeSet<_> = world.streams.lock().iter().filter(|s| s.tenant == tenant).map(|s| s.id).collect();
    let topic = world.topic.lock();
    for (place, kept) in verdict::records(&topic.partitions) {
        if let Truth::Row { stream, id } = kept.truth
            && own.contains(&stream)
            && !verdict::is_spoilt(world, stream)
            && read.contains(&place.partition)
            && place.offset < open[&place.partition]
            && !ids.get(&stream).is_some_and(|ids| ids.contains(&id))
        {
            return Err(format!("row {id} at {place:?} was said to be in, and is not"));
        }
    }
    Ok(())
}
