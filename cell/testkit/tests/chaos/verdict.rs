//! What must be true after a fault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use testkit::{Tenant, within};

use crate::load::Record;
use crate::rows;

/// From the mending until a row that is pushed can be read.
const RECOVERY: Duration = Duration::from_secs(120);
/// No call hangs longer, whatever is broken.
pub const PATIENCE: Duration = Duration::from_secs(100);
/// Ids of rows that are pushed to see whether everything works again.
const PROBES: u64 = 1_000_000_000;

/// Pushes one row until it is accepted, and waits until it can be read.
pub async fn recovered(tenant: &Tenant, stream: &str, table: &str) -> anyhow::Result<(Duration, Record)> {
    let (begun, mut probes) = (Instant::now(), Record::default());
    let mut id = PROBES;
    within(RECOVERY, "a row is accepted again", || {
        id += 1;
        let (stream, id) = (stream.to_owned(), id);
        async move { rows::push_all(tenant, &stream, id, id + 1).await }
    })
    .await?;
    probes.doubtful.extend((PROBES as i64 + 1)..id.cast_signed());
    probes.accepted.insert(id.cast_signed());
    within(RECOVERY, "a row is read again", || async {
        let found = rows::number(tenant, &format!("select count(*) from {table} where id = {id}")).await?;
        ensure!(found == 1, "row {id} is there {found} times");
        Ok(())
    })
    .await?;
    Ok((begun.elapsed(), probes))
}

async fn ids(tenant: &Tenant, table: &str) -> anyhow::Result<BTreeMap<i64, u32>> {
    let batches = tenant.sql().await?.execute(&format!("select id from {table}")).await?.collect().await?;
    let mut ids = BTreeMap::new();
    for batch in batches {
        for id in cast(batch.column(0), &DataType::Int64)?.as_primitive::<Int64Type>().values() {
            *ids.entry(*id).or_default() += 1;
        }
    }
    Ok(ids)
}

/// Every accepted row is in the table once, and no other but those nobody was told of.
pub async fn exactly_once(tenant: &Tenant, table: &str, record: &Record) -> anyhow::Result<usize> {
    within(RECOVERY, "every accepted row is in the table", || async {
        let found = ids(tenant, table).await?;
        let missing: Vec<&i64> = record.accepted.iter().filter(|id| !found.contains_key(id)).collect();
        ensure!(missing.is_empty(), "{} accepted rows are missing, the first is {:?}", missing.len(), missing.first());
        Ok(())
    })
    .await?;
    let found = ids(tenant, table).await?;
    let twice = found.iter().find(|(_, times)| **times != 1);
    ensure!(twice.is_none(), "a row is there more than once: {twice:?}");
    let strange = found.keys().find(|id| !record.accepted.contains(id) && !record.doubtful.contains(id));
    ensure!(strange.is_none(), "row {strange:?} is there and nobody pushed it");
    Ok(found.len())
}

/// No transaction is left open in the cell's Postgres.
pub async fn no_stuck_transaction(world: &crate::world::World) -> anyhow::Result<()> {
    within(RECOVERY, "every transaction ends", || async {
        let mut admin = world.postgres().await?;
        let old: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where state like 'idle in transaction%' and xact_start < now() - interval '10 s'
             or state = 'active' and query_start < now() - interval '60 s' and backend_type = 'client backend'",
        )
        .fetch_one(&mut admin)
        .await
        .context("the cell's Postgres")?;
        ensure!(old == 0, "{old} are stuck");
        Ok(())
    })
    .await
}
