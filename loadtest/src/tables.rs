//! The tables that statements are asked of: the flights of 2013, and one too large for caches.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::stream;
use reqwest::Method;
use serde_json::json;

use crate::door::Door;
use crate::figures::Figures;
use crate::processes::Meter;

/// Rows of one chunk of an upload.
const CHUNK: u64 = 10_000;

/// Short name to table, as SQL and the catalog call it.
pub struct Tables(BTreeMap<&'static str, String>);

impl Tables {
    /// Uploads them: flights and airlines from `flights` (a folder of CSV files), `rows` made-up rows as `wide`.
    pub async fn upload(
        door: &Door,
        state: &Path,
        flights: &Path,
        rows: u64,
        figures: &mut Figures,
    ) -> anyhow::Result<Self> {
        let mut tables = BTreeMap::new();
        for name in ["flights", "airlines"] {
            let path = flights.join(format!("{name}.csv"));
            let csv = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let body = without_na(&csv);
            let uploaded = upload(door, name, reqwest::Body::from(body)).await?;
            tables.insert(name, uploaded.table);
        }
        let bytes: usize = made_up(rows).map(|chunk| chunk.len()).sum();
        let chunks = stream::iter(made_up(rows).map(Ok::<_, std::io::Error>));
        let (meter, begun) = (Meter::start(state)?, Instant::now());
        let uploaded = upload(door, "wide", reqwest::Body::wrap_stream(chunks)).await?;
        let (seconds, megabytes) = (begun.elapsed().as_secs_f64(), bytes as f64 / 1e6);
        ensure!(uploaded.rows == rows, "the upload committed {} rows", uploaded.rows);
        figures.add("CSV upload, committed", megabytes / seconds, "MB/s");
        figures.add("CSV upload, by processor second of our processes", megabytes / meter.read()?.own, "MB");
        tables.insert("wide", uploaded.table);
        Ok(Self(tables))
    }

    pub fn names(&self) -> &BTreeMap<&'static str, String> {
        &self.0
    }

    /// A statement with the tables' names put in.
    pub fn name(&self, sql: &str) -> String {
        self.0.iter().fold(sql.to_owned(), |sql, (name, table)| sql.replace(&format!("{{{name}}}"), table))
    }
}

struct Uploaded {
    table: String,
    rows: u64,
}

async fn upload(door: &Door, name: &str, body: reqwest::Body) -> anyhow::Result<Uploaded> {
    let name = format!("{name}_{}", uuid::Uuid::now_v7().simple());
    let dataset = door.json(door.request(Method::POST, "/api/v1/datasets").json(&json!({ "name": name }))).await?;
    let path = format!("/api/v1/datasets/{name}/upload?type=SNAPSHOT&format=csv");
    let request = door.request(Method::POST, &path).header("content-type", "text/csv").body(body);
    let answer = door.json(request).await.with_context(|| format!("upload of {name}"))?;
    let table = dataset["table"].as_str().context("a dataset without a table")?.to_owned();
    Ok(Uploaded { table, rows: answer["rows"].as_u64().context("no number of rows")? })
}

/// R writes a missing value as `NA`; CSV leaves it empty.
fn without_na(csv: &str) -> String {
    let field = |field| if field == "NA" { "" } else { field };
    csv.lines().map(|line| line.split(',').map(field).collect::<Vec<_>>().join(",") + "\n").collect()
}

/// A header, then rows of about 70 bytes that compress little.
fn made_up(rows: u64) -> impl Iterator<Item = Bytes> + Send {
    let chunk = move |from: u64| (from..(from + CHUNK).min(rows)).map(line).collect::<String>().into();
    std::iter::once(Bytes::from_static(b"id,group,value,day,word\n"))
        .chain((0..rows).step_by(CHUNK as usize).map(chunk))
}

fn line(number: u64) -> String {
    let (first, second) = (scrambled(number), scrambled(number ^ u64::MAX));
    format!(
        "{number},G{},{}.{:03},2013-{:02}-{:02},{first:016x}{second:016x}\n",
        first % 1000,
        second % 1_000_000,
        first % 1000,
        number % 12 + 1,
        number % 28 + 1
    )
}

/// SplitMix64's finish: every bit of `number` touches every bit of the result.
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
