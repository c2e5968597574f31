//! What most tests do: make a stream or a dataset, fill it, count it.

use std::time::Duration;

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Tenant, within};

/// The sink commits every few seconds; a cold cell, or one that was killed on a busy machine, takes longer.
const COMMIT: Duration = Duration::from_secs(180);

pub fn fields() -> Value {
    json!([
        { "name": "id", "type": "int64", "nullable": false },
        { "name": "city", "type": "string", "nullable": false },
        { "name": "amount", "type": "float64" },
        { "name": "at", "type": "timestamptz" },
    ])
}

/// Rows `from..to` as NDJSON.
pub fn ndjson(from: u64, to: u64) -> String {
    let row = |id: u64| {
        let amount = if id.is_multiple_of(7) { Value::Null } else { json!(id as f64 / 4.0) };
        json!({ "id": id, "city": format!("city {}", id % 50), "amount": amount, "at": "2013-01-01T10:00:00Z" })
            .to_string()
    };
    (from..to).map(|id| row(id) + "\n").collect()
}

/// The same rows as CSV, a missing amount written `NA`.
pub fn csv(from: u64, to: u64) -> String {
    let amount = |id: u64| if id.is_multiple_of(7) { "NA".to_owned() } else { (id as f64 / 4.0).to_string() };
    let lines: String =
        (from..to).map(|id| format!("{id},city {},{},2013-01-01T10:00:00Z\n", id % 50, amount(id))).collect();
    format!("id,city,amount,at\n{lines}")
}

/// Creates a stream; answers its id.
pub async fn stream(tenant: &Tenant, name: &str) -> anyhow::Result<String> {
    let view = tenant.post("/api/v1/streams", &json!({ "name": name, "schema": { "fields": fields() } })).await?;
    id(&view)
}

pub async fn dataset(tenant: &Tenant, name: &str) -> anyhow::Result<String> {
    id(&tenant.post("/api/v1/datasets", &json!({ "name": name })).await?)
}

fn id(view: &Value) -> anyhow::Result<String> {
    view["id"].as_str().map(str::to_owned).with_context(|| format!("no id in {view}"))
}

pub async fn push(tenant: &Tenant, stream: &str, rows: String) -> anyhow::Result<Answer> {
    tenant.send(&format!("/api/v1/streams/{stream}/records"), "application/x-ndjson", rows).await
}

/// Pushes rows `from..to`, all of which have to be accepted.
pub async fn push_all(tenant: &Tenant, stream: &str, from: u64, to: u64) -> anyhow::Result<()> {
    let answer = push(tenant, stream, ndjson(from, to)).await?.good()?;
    ensure!(answer["accepted"] == to - from, "pushed {} rows: {answer}", to - from);
    Ok(())
}

/// Waits until the sink says that `rows` rows are in the stream's table.
pub async fn committed(tenant: &Tenant, stream: &str, rows: u64) -> anyhow::Result<()> {
    within(COMMIT, &format!("{rows} rows committed"), || async {
        let view = tenant.get(&format!("/api/v1/streams/{stream}")).await?;
        ensure!(view["committedRows"] == rows, "{} of {}", view["committedRows"], view["acceptedRows"]);
        Ok(())
    })
    .await
}

pub async fn upload(tenant: &Tenant, dataset: &str, body: String) -> anyhow::Result<Value> {
    let path = format!("/api/v1/datasets/{dataset}/upload?type=SNAPSHOT&null=NA");
    tenant.send(&path, "text/csv", body).await?.good()
}

/// One number from one statement.
pub async fn number(tenant: &Tenant, sql: &str) -> anyhow::Result<i64> {
    let batches = tenant.sql().await?.execute(sql).await?.collect().await?;
    let batch = batches.iter().find(|b| b.num_rows() > 0).with_context(|| format!("no row: {sql}"))?;
    let column = cast(batch.column(0), &DataType::Int64)?;
    Ok(column.as_primitive::<Int64Type>().value(0))
}

pub async fn count(tenant: &Tenant, table: &str) -> anyhow::Result<i64> {
    number(tenant, &format!("select count(*) from {table}")).await
}

pub async fn remove(tenant: &Tenant, path: &str) -> anyhow::Result<()> {
    tenant.answer(Method::DELETE, path).await?.good()?;
    Ok(())
}

/// The gRPC status of a statement that has to be refused.
pub async fn refusal(tenant: &Tenant, sql: &str) -> anyhow::Result<tonic::Status> {
    let outcome = match tenant.sql().await?.execute(sql).await {
        Ok(results) => results.collect().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(batches) => anyhow::bail!("{sql} was answered: {batches:?}"),
        Err(error) => error.status().cloned().with_context(|| format!("{sql} failed without a status: {error}")),
    }
}
