//! What broken writers left in the bucket is deleted by the cell itself, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use testkit::{Arrangement, Case, Tenant, within};

use crate::load::Load;
use crate::rows;
use crate::vended::{keys, vended};
use crate::verdict::exactly_once;
use crate::world::{SHARED, World};

/// Looks soon and often. The age is still longer than a writer takes from its first file to its commit.
const IMPATIENT: &str =
    "[services.iceberg-catalog]\norphan_age_seconds = 20\norphan_first_look_seconds = 1\norphan_pause_seconds = 5";
const COLLECTED: Duration = Duration::from_secs(180);
const STREAMS: &str = "streams";

pub fn cases() -> Vec<Case<World>> {
    vec![Case { name: "end::what_broken_writers_left_is_collected", run: |world| Box::pin(are_collected(world)) }]
}

/// The files of one stream's table, as they lie in the bucket and as the catalog tells them.
struct Files {
    data: usize,
    all: usize,
    live: usize,
}

async fn files(tenant: &Tenant, table: &str) -> anyhow::Result<Files> {
    let (store, folder) = vended(tenant, STREAMS, table).await?;
    let lying = keys(store.as_ref(), &folder).await?;
    let data = lying.iter().filter(|key| key.as_ref().contains("/data/")).count();
    Ok(Files { data, all: lying.len(), live: live(tenant, table).await? })
}

/// A stream only grows, so its current snapshot knows every data file it ever had.
async fn live(tenant: &Tenant, table: &str) -> anyhow::Result<usize> {
    let path = format!("/iceberg/v1/{}/namespaces/{STREAMS}/tables/{table}", tenant.id);
    let metadata = tenant.get(&path).await?["metadata"].take();
    let snapshots = metadata["snapshots"].as_array().context("no snapshots")?;
    let current = snapshots.iter().find(|snapshot| snapshot["snapshot-id"] == metadata["current-snapshot-id"]);
    let Some(current) = current else { return Ok(0) };
    let total = current["summary"]["total-data-files"].as_str().context("a snapshot does not count its files")?;
    Ok(total.parse()?)
}

async fn tables(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let listed = tenant.get(&format!("/iceberg/v1/{}/namespaces/{STREAMS}/tables", tenant.id)).await?;
    let listed = listed["identifiers"].as_array().context("no list of tables")?;
    listed.iter().map(|table| Ok(table["name"].as_str().context("a table without a name")?.to_owned())).collect()
}

async fn are_collected(world: Arc<World>) -> anyhow::Result<()> {
    world.site.arrange(SHARED, Arrangement::Together).await?;
    world.renew().await?;
    let load = Load::start(&world.here).await?;
    let name = load.table.rsplit('.').next().context("no table")?.to_owned();
    let (tenant, _, table, record) = load.stop().await?;
    exactly_once(&tenant, &table, &record).await?;
    let (store, folder) = vended(&tenant, STREAMS, &name).await?;
    let planted = ["data/left.parquet", "metadata/left-m0.avro"].map(|file| Path::from(format!("{folder}/{file}")));
    for file in &planted {
        store.put(file, PutPayload::from_static(b"left by a writer that died")).await?;
    }
    let tables = tables(&tenant).await?;
    let mut before = 0;
    for table in &tables {
        before += files(&tenant, table).await?.all;
    }
    world.site.restart_cell_with(SHARED, IMPATIENT).await?;
    world.renew().await?;
    within(COLLECTED, "every file that no table knows is deleted", || async {
        for table in &tables {
            let files = files(&tenant, table).await?;
            ensure!(files.data == files.live, "{table}: {} files lie there, {} are known", files.data, files.live);
        }
        let lying = keys(store.as_ref(), &folder).await?;
        let left = planted.iter().find(|file| lying.contains(file));
        ensure!(left.is_none(), "{left:?} is still there");
        Ok(())
    })
    .await?;
    // It looks no more while the rest is counted.
    world.site.restart_cell(SHARED).await?;
    world.renew().await?;
    let mut after = 0;
    for table in &tables {
        after += files(&tenant, table).await?.all;
        // Reads a column of every file.
        rows::number(&tenant, &format!("select sum(length(city)) from {STREAMS}.{table}")).await?;
    }
    exactly_once(&tenant, &table, &record).await?;
    println!("    {} tables: {before} files, {} of them known to no table and deleted", tables.len(), before - after);
    ensure!(before - after >= planted.len(), "{before} files before, {after} after");
    Ok(())
}
