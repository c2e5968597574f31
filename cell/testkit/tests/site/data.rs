//! Rows through a cell: pushed and uploaded rows are committed and read back, exactly.

use std::sync::Arc;

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Answer, eventually};

use crate::rows;
use crate::world::World;

pub async fn pushed_rows_are_committed_and_read_back(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("pusher").await?;
    let stream = rows::stream(&tenant, "orders").await?;
    for part in 0..10 {
        rows::push_all(&tenant, &stream, part * 500, (part + 1) * 500).await?;
    }
    rows::committed(&tenant, &stream, 5_000).await?;
    ensure!(rows::count(&tenant, "streams.orders").await? == 5_000);
    ensure!(rows::number(&tenant, "select sum(id) from streams.orders").await? == 4_999 * 2_500);
    ensure!(rows::number(&tenant, "select count(*) from streams.orders where amount is null").await? == 715);
    ensure!(rows::number(&tenant, "select count(distinct city) from streams.orders").await? == 50);
    Ok(())
}

pub async fn an_uploaded_file_is_read_back_and_replaced(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("uploader").await?;
    let dataset = rows::dataset(&tenant, "people").await?;
    let first = rows::upload(&tenant, &dataset, rows::csv(0, 2_000)).await?;
    ensure!(first["rows"] == 2_000 && first["version"] == 1, "{first}");
    ensure!(rows::count(&tenant, "datasets.people").await? == 2_000);
    ensure!(rows::number(&tenant, "select count(*) from datasets.people where amount is null").await? == 286);
    let second = rows::upload(&tenant, &dataset, rows::csv(0, 300)).await?;
    ensure!(second["rows"] == 300 && second["version"] == 2, "{second}");
    ensure!(rows::count(&tenant, "datasets.people").await? == 300, "a SNAPSHOT replaces");
    let path = format!("/api/v1/datasets/{dataset}/upload?type=APPEND&null=NA");
    tenant.send(&path, "text/csv", rows::csv(300, 400)).await?.good()?;
    ensure!(rows::count(&tenant, "datasets.people").await? == 400, "an APPEND adds");
    let preview = tenant.get(&format!("/api/v1/datasets/{dataset}/preview?rows=5")).await?;
    ensure!(preview["rows"].as_array().is_some_and(|rows| rows.len() == 5), "{preview}");
    Ok(())
}

/// What a client does that lost the answer: the same again, several at once too.
pub async fn an_upload_repeated_with_its_key_adds_its_rows_once(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("repeater").await?;
    let dataset = rows::dataset(&tenant, "repeated").await?;
    let append = async |key: &str, body: String, null: &str| {
        let path = format!("/api/v1/datasets/{dataset}/upload?type=APPEND&null={null}");
        let request = tenant.request(Method::POST, &path).header("content-type", "text/csv");
        Answer::of(request.header("idempotency-key", key).body(body)).await
    };
    let (first, second) = tokio::try_join!(append("a", rows::csv(0, 500), "NA"), append("a", rows::csv(0, 500), "NA"))?;
    for answer in [&first, &second] {
        let told = format!("{} {}", answer.status, answer.excerpt());
        ensure!(answer.status == StatusCode::CREATED || answer.status == StatusCode::CONFLICT, "{told}");
    }
    let again = append("a", rows::csv(0, 500), "NA").await?;
    ensure!(again.headers.get("idempotency-replayed").is_some(), "{:?}", again.headers);
    let again = again.good()?;
    ensure!(again["version"] == 1 && again["rows"] == 500, "{again}");
    for (body, null) in [(rows::csv(0, 501), "NA"), (rows::csv(0, 500), "none")] {
        let other = append("a", body, null).await?;
        ensure!(other.status == StatusCode::UNPROCESSABLE_ENTITY, "{} {}", other.status, other.excerpt());
        ensure!(other.json()?["code"] == "dataset/idempotency-key-reused", "{}", other.excerpt());
    }
    append("b", rows::csv(500, 600), "NA").await?.good()?;
    // A refused upload lets its key go.
    let refused = append("c", "id,city\nx,y,z\n".to_owned(), "NA").await?;
    ensure!(refused.status.is_client_error(), "{}", refused.status);
    append("c", rows::csv(600, 700), "NA").await?.good()?;
    ensure!(rows::count(&tenant, "datasets.repeated").await? == 700);
    Ok(())
}

/// A bad row is named; the good ones beside it are not lost.
pub async fn bad_rows_are_named(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("mixed").await?;
    let stream = rows::stream(&tenant, "mixed").await?;
    let body = format!("{}{}\n{}", rows::ndjson(0, 3), r#"{"id":"three","city":"x"}"#, rows::ndjson(4, 6));
    let answer = rows::push(&tenant, &stream, body).await?;
    let view = answer.json()?;
    ensure!(view["accepted"] == 5 && view["rejected"] == 1, "{}: {view}", answer.status);
    let errors = view["errors"].as_array().cloned().unwrap_or_default();
    ensure!(errors.len() == 1 && errors[0]["row"] == 4, "{view}");
    rows::committed(&tenant, &stream, 5).await?;
    ensure!(rows::count(&tenant, "streams.mixed").await? == 5);
    Ok(())
}

/// The name of a deleted stream and of its dropped table may be used again; the rows do not come back.
pub async fn a_dropped_table_leaves_no_row(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("again").await?;
    let first = rows::stream(&tenant, "short_lived").await?;
    rows::push_all(&tenant, &first, 0, 200).await?;
    rows::committed(&tenant, &first, 200).await?;
    rows::remove(&tenant, &format!("/api/v1/streams/{first}")).await?;
    ensure!(rows::count(&tenant, "streams.short_lived").await? == 200, "a deleted stream's table stays");
    let table = format!("/iceberg/v1/{}/namespaces/streams/tables/short_lived?purgeRequested=true", tenant.id);
    rows::remove(&tenant, &table).await?;
    let second = rows::stream(&tenant, "short_lived").await?;
    ensure!(first != second);
    rows::push_all(&tenant, &second, 0, 30).await?;
    rows::committed(&tenant, &second, 30).await?;
    ensure!(rows::count(&tenant, "streams.short_lived").await? == 30);
    Ok(())
}

/// What happened is known afterwards: an edge into the table, an entry in an unbroken log.
pub async fn lineage_and_audit_tell_what_happened(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("traced").await?;
    let dataset = rows::dataset(&tenant, "traced").await?;
    rows::upload(&tenant, &dataset, rows::csv(0, 10)).await?;
    eventually("lineage of the upload", || async {
        let graph = tenant.get("/api/v1/lineage/graph?dataset=datasets.traced&depth=3").await?;
        let nodes = graph["graph"].as_array().cloned().unwrap_or_default();
        let has_edge = |node: &Value| node["inEdges"].as_array().is_some_and(|edges| !edges.is_empty());
        ensure!(nodes.iter().any(has_edge), "{graph}");
        Ok(())
    })
    .await?;
    eventually("an audit entry of the upload", || async {
        let page = tenant.get("/api/v1/audit/entries?pageSize=200").await?;
        let entries = page["data"].as_array().cloned().unwrap_or_default();
        let is_it = |e: &Value| e["resource"].as_str().is_some_and(|r| r.contains(&dataset) && r.contains("/upload"));
        ensure!(entries.iter().any(is_it), "{} entries, none of them", entries.len());
        Ok(())
    })
    .await?;
    let verified = tenant.get("/api/v1/audit/verify").await?;
    ensure!(verified["intact"] == json!(true), "{verified}");
    Ok(())
}
