//! acme, in a shared cell: all flights as a stream, client → router → Kafka → Iceberg.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::super::tenant_api::{Stream, TenantApi};
use super::door::Door;
use super::input::{FLIGHTS, Input, stream_fields};
use super::progress::Stage;
use super::report::TenantReport;
use super::{TENANT_STREAM, questions};

const NAME: &str = "flights";
/// Batches on their way at any moment.
const IN_FLIGHT: usize = 4;
/// A cell under load asks a client to wait; that many times one batch obeys.
const PATIENCE: u32 = 30;
/// Without a newly committed row for that long the sink is stuck.
const STANDSTILL: Duration = Duration::from_secs(120);

pub async fn run(door: &Door, input: &Input) -> anyhow::Result<TenantReport> {
    let mut seconds = BTreeMap::new();
    let stage = Stage::begin(TENANT_STREAM, "create stream flights, upload airlines", 0);
    let stream = fresh_stream(&door.api).await?;
    let airlines = super::upload(&door.api, input, "airlines", None).await?;
    seconds.insert("prepare", stage.done(&format!("{airlines} airlines")));

    let stage = Stage::begin(TENANT_STREAM, "push flights to the stream", FLIGHTS);
    let sent = push(&door.api, &stream, input, &stage).await?;
    seconds.insert("push", stage.rows(sent));

    let stage = Stage::begin(TENANT_STREAM, "wait until Iceberg has them", FLIGHTS);
    let committed = wait_for_sink(&door.api, &stream, sent, Some(&stage)).await?;
    seconds.insert("commit", stage.rows(committed));

    let stage = Stage::begin(TENANT_STREAM, "read back: select count(*)", 0);
    let read_back = questions::count(&door.sql, "streams.flights").await?;
    seconds.insert("read_back", stage.rows(read_back));
    ensure!(
        [sent, committed, read_back].iter().all(|rows| *rows == FLIGHTS),
        "acme: {sent} rows sent, {committed} committed, {read_back} read back; all must be {FLIGHTS}"
    );
    Ok(TenantReport {
        cell: door.tenant.cell.clone(),
        generation: door.tenant.generation,
        path: "stream",
        rows_sent: sent,
        rows_committed: committed,
        rows_read_back: read_back,
        seconds,
    })
}

/// Every run begins with an empty stream and no table, so that its counts are its own.
async fn fresh_stream(api: &TenantApi) -> anyhow::Result<Stream> {
    if let Some(old) = api.stream(NAME).await? {
        // Rows still on their way would come back into the next run's table.
        wait_for_sink(api, &old, old.accepted_rows, None).await?;
        api.delete_stream(&old).await?;
    }
    api.drop_table("streams", NAME).await?;
    Ok(api.create_stream(NAME, &stream_fields()).await?)
}

async fn push(api: &TenantApi, stream: &Stream, input: &Input, stage: &Stage) -> anyhow::Result<u64> {
    let pushes = stream::iter(input.ndjson()?).map(|batch| async move {
        let (rows, body) = batch?;
        push_batch(api, stream, rows, body).await
    });
    let count = |total: u64, rows: u64| async move {
        stage.at(total + rows);
        Ok(total + rows)
    };
    pushes.buffer_unordered(IN_FLIGHT).try_fold(0, count).await
}

async fn push_batch(api: &TenantApi, stream: &Stream, rows: u64, body: Bytes) -> anyhow::Result<u64> {
    for _ in 0..PATIENCE {
        match api.push(stream, body.clone()).await {
            Ok(pushed) if pushed.accepted == rows => return Ok(rows),
            Ok(pushed) => {
                let first = pushed.errors.first().map(|e| format!("; the first: {e}")).unwrap_or_default();
                bail!("{} of {rows} rows were refused{first}", pushed.rejected);
            }
            Err(error) => match error.retry_after() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error.into()),
            },
        }
    }
    bail!("the stream refused a batch {PATIENCE} times because the cell is busy")
}

async fn wait_for_sink(api: &TenantApi, stream: &Stream, rows: u64, stage: Option<&Stage>) -> anyhow::Result<u64> {
    let (mut committed, mut moved) = (0, Instant::now());
    loop {
        let now = api.reload(stream).await?.committed_rows;
        if let Some(stage) = stage {
            stage.at(now);
        }
        if now >= rows {
            return Ok(now);
        }
        if now != committed {
            (committed, moved) = (now, Instant::now());
        }
        ensure!(
            moved.elapsed() < STANDSTILL,
            "the sink stands still at {committed} of {rows} rows since {} s",
            STANDSTILL.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
