//! globex, in a cell of its own: the same flights as an uploaded file.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::door::Door;
use super::input::{FLIGHTS, Input};
use super::progress::Stage;
use super::report::TenantReport;
use super::{TENANT_FILE, questions};

pub async fn run(door: &Door, input: &Input) -> anyhow::Result<TenantReport> {
    let mut seconds = BTreeMap::new();
    let stage = Stage::begin(TENANT_FILE, "upload airlines", 0);
    let airlines = super::upload(&door.api, input, "airlines", None).await?;
    seconds.insert("prepare", stage.done(&format!("{airlines} airlines")));

    let stage = Stage::begin(TENANT_FILE, "upload flights.csv", super::size(input, "flights.csv")?);
    let committed = super::upload(&door.api, input, "flights", Some(&stage)).await?;
    seconds.insert("upload", stage.rows(committed));

    let stage = Stage::begin(TENANT_FILE, "read back: select count(*)", 0);
    let read_back = questions::count(&door.sql, "datasets.flights").await?;
    seconds.insert("read_back", stage.rows(read_back));
    ensure!(
        [committed, read_back].iter().all(|rows| *rows == FLIGHTS),
        "globex: {committed} rows committed, {read_back} read back; both must be {FLIGHTS}"
    );
    Ok(TenantReport {
        cell: door.tenant.cell.clone(),
        generation: door.tenant.generation,
        path: "file",
        // The file was counted when the expected answer was computed from it.
        rows_sent: FLIGHTS,
        rows_committed: committed,
        rows_read_back: read_back,
        seconds,
    })
}
