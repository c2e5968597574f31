//! Rows in: pushed to a stream, sunk into its table, uploaded as a file.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use serde_json::json;

use crate::door::Door;
use crate::figures::Figures;

const BATCH: u64 = 10_000;
const IN_FLIGHT: usize = 4;
/// Single rows pushed one after the other to see how soon each can be read.
const FRESH_ROWS: usize = 12;
const DEADLINE: Duration = Duration::from_secs(300);

fn row(number: u64) -> String {
    format!(
        "{{\"id\":{number},\"carrier\":\"C{}\",\"delay\":{}.5,\"origin\":\"JFK\",\"at\":\"2013-01-01T05:00:00Z\"}}\n",
        number % 16,
        number % 97
    )
}

/// Pushes `rows` rows, waits until the sink has them, then measures freshness.
pub async fn push(door: &Door, rows: u64, figures: &mut Figures) -> anyhow::Result<()> {
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
    let started = Instant::now();
    stream::iter(batches.into_iter().map(|batch| records(door, &name, batch)))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let pushed = started.elapsed().as_secs_f64();
    figures.add("stream push, acknowledged", rows as f64 / pushed, "rows/s");
    figures.add("stream push, acknowledged", bytes as f64 / pushed / 1e6, "MB/s");
    until_rows(door, &name, rows).await?;
    figures.add("stream push to committed table", rows as f64 / started.elapsed().as_secs_f64(), "rows/s");
    let mut times = Vec::new();
    for extra in 0..FRESH_ROWS as u64 {
        let started = Instant::now();
        records(door, &name, row(rows + extra).into()).await?;
        until_rows(door, &name, rows + extra + 1).await?;
        times.push(started.elapsed());
    }
    figures.add_times("freshness, push to readable in SQL", times);
    Ok(())
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

/// Uploads a CSV of `rows` rows in one streaming request.
pub async fn upload(door: &Door, rows: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    door.json(door.request(Method::POST, "/api/v1/datasets").json(&json!({"name": name}))).await?;
    let line = |n: u64| format!("{n},C{},{}.25,2013-01-{:02},some words of text\n", n % 16, n % 97, n % 28 + 1);
    let chunks: Vec<Bytes> = std::iter::once(Bytes::from_static(b"id,carrier,delay,day,note\n"))
        .chain(
            (0..rows)
                .step_by(BATCH as usize)
                .map(|from| (from..(from + BATCH).min(rows)).map(line).collect::<String>().into()),
        )
        .collect();
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let started = Instant::now();
    let body = reqwest::Body::wrap_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)));
    let request = door.request(Method::POST, &format!("/api/v1/datasets/{name}/upload?type=SNAPSHOT&format=csv"));
    let answer = door.json(request.header("content-type", "text/csv").body(body)).await.context("upload")?;
    ensure!(answer["rows"] == rows, "the upload committed {} rows", answer["rows"]);
    figures.add("CSV upload, committed", bytes as f64 / started.elapsed().as_secs_f64() / 1e6, "MB/s");
    Ok(())
}
