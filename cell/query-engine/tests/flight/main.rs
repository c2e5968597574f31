//! The Flight SQL server over a bucket in memory, met by a client over the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod plans;
mod protocol;
mod refusals;
mod scan;
mod world;

use datafusion::arrow::util::pretty::pretty_format_batches;
use flight_sql::{Client, Error};

/// The answer as a table, without its frame.
async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    let batches = client.execute(sql).await?.collect().await?;
    Ok(lines(&batches))
}

fn lines(batches: &[datafusion::arrow::record_batch::RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let inside = text.lines().filter(|line| line.starts_with('|')).skip(1);
    inside.map(|line| line.split('|').map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join(" ")).collect()
}
