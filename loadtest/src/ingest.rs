//! Rows in: pushed to a stream, sunk into its table, readable.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use serde_json::json;

use crate::door::Door;
use crate::figures::Figures;
use crate::processes::Meter;

const BATCH: u64 = 10_000;
const IN_FLIGHT: usize = 4;
/// Single rows pushed one after the other to see how soon each can be read.
const FRESH_ROWS: usize = 12;
/// Single rows pushed one after the other to see how soon Kafka has acknowledged each.
const ACKNOWLEDGED_ROWS: u64 = 1_000;
const DEADLINE: Duration = Duration::from_secs(300);

fn row(number: u64) -> String {
    format!(
        "{{\"id\":{number},\"carrier\":\"C{}\",\"delay\":{}.5,\"origin\":\"JFK\",\"at\":\"2013-01-01T05:00:00Z\"}}\n",
        number % 16,
        number % 97
    )
}

/// Pushes `rows` rows, waits until the sink has them, then measures freshness.
pub async fn push(door: &Door, state: &Path, rows: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let fields = json!([
        {"name": "id", "type": "int64", "nullable": false}, {"name": "carrier", "type": "string"},
        {"name": "delay", "type": "float64"}, {"name": "origin", "type": "string"}, {"name": "at", "type": "timestamptz"}
    ]);
    let stream = json!({"name": name, "schema": {"fields": fields}});
    door.json(door.request(Method::POST, "/api/v1/streams").json(&stream)).await?;
    let batches: Vec<Bytes> = (0..rows)
        .step_by(BATCH as usize)
        .map(|from| (from..(from + BATCH).min(rows)).map(row).collect::<String>().into())
        .collect();
    let bytes: usize = batches.iter().map(Bytes::len).sum();
    let (meter, started) = (Meter::start(state)?, Instant::now());
    stream::iter(batches.into_iter().map(|batch| records(door, &name, batch)))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let pushed = started.elapsed().as_secs_f64();
    figures.add("stream push, acknowledged", rows as f64 / pushed, "rows/s");
    figures.add("stream push, acknowledged", bytes as f64 / pushed / 1e6, "MB/s");
    until_rows(door, &name, rows).await?;
    let spent = meter.read()?;
    figures.add("stream push to committed table", rows as f64 / spent.elapsed.as_secs_f64(), "rows/s");
    figures.add(
        "stream push to committed table, by processor second of our processes",
        rows as f64 / spent.own,
        "rows",
    );
    figures.add("stream push to committed table, by processor second of the site", rows as f64 / spent.all, "rows");
    let mut times = Vec::new();
    for number in rows..rows + ACKNOWLEDGED_ROWS {
        times.push(timed_record(door, &name, number).await?);
    }
    figures.add_times("one row pushed and acknowledged", &times);
    let rows = rows + ACKNOWLEDGED_ROWS;
    until_rows(door, &name, rows).await?;
    let mut times = Vec::new();
    for number in rows..rows + FRESH_ROWS as u64 {
        let started = Instant::now();
        timed_record(door, &name, number).await?;
        until_rows(door, &name, number + 1).await?;
        times.push(started.elapsed());
    }
    figures.add_times("freshness, push to readable in SQL", &times);
    Ok(())
}

async fn timed_record(door: &Door, stream: &str, number: u64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    records(door, stream, row(number).into()).await?;
    Ok(started.elapsed())
}

async fn records(door: &Door, stream: &str, body: Bytes) -> anyhow::Result<()> {
    let request = door.request(Method::POST, &format!("/api/v1/streams/{stream}/records"));
    let answer = door.json(request.header("content-type", "application/x-ndjson").body(body)).await?;
    ensure!(answer["rejected"] == 0, "rows were rejected: {answer}");
    Ok(())
}

async fn until_rows(door: &Door, table: &str, rows: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        // The table does not exist before the first commit.
        let count = crate::statements::count(door, &format!("streams.{table}")).await.unwrap_or(0);
        if count >= rows {
            ensure!(count == rows, "{count} rows where {rows} were pushed");
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "{count} of {rows} rows after {} s", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
