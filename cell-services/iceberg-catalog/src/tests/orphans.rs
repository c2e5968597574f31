//! What no table knows is deleted, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use http::Response;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use kit::exchange::{Exchange, ExchangeError};
use lakehouse::write::{TableWriter, WriteOptions};
use lakehouse::{LoadedTable, TableName, TenantBucket, snapshot};
use object_store::{ObjectStore, ObjectStoreExt};
use testkit::scope;
use time::OffsetDateTime;

use super::*;

/// A client that is in the same process.
struct Direct(Router);

#[async_trait]
impl Exchange for Direct {
    async fn exchange(
        &self,
        scope: &Scope,
        call: Request<Bytes>,
    ) -> std::result::Result<Response<Bytes>, ExchangeError> {
        let unreached = |error: anyhow::Error| ExchangeError::Unreached(error.into());
        let mut call = call.map(Body::from);
        call.headers_mut().extend(scope.to_headers().map_err(|error| unreached(error.into()))?);
        let answer = self.0.clone().oneshot(call).await.map_err(|error| unreached(error.into()))?;
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| unreached(error.into()))?;
        Ok(Response::from_parts(parts, body))
    }
}

/// Makes a table of `commits` snapshots with a file each.
async fn table(rig: &Rig, scope: &Scope, name: &str, commits: usize) -> anyhow::Result<LoadedTable> {
    let client = lakehouse::Catalog::over(Arc::new(Direct(rig.router.clone())));
    let bucket = rig.bucket.tenant(&scope.tenant);
    let id = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([Arc::new(id)]).build()?;
    let name = TableName::new("ns".parse()?, name)?;
    let mut table = client.ensure_table(scope, &name, &schema, HashMap::new()).await?;
    for commit in 0..commits {
        let mut writer = TableWriter::new(&bucket, &table.metadata, WriteOptions::default())?;
        let ids = Arc::new(Int64Array::from(vec![commit as i64; 10]));
        writer.write(&RecordBatch::try_from_iter([("id", ids as _)])?).await?;
        let files = writer.finish().await?.files;
        let change = snapshot::append(&bucket, &table, files, snapshot::Extra::default()).await?;
        table = client.commit(scope, &name, &change.requirements, &change.updates).await?;
    }
    Ok(table)
}

async fn objects(bucket: &TenantBucket) -> anyhow::Result<BTreeSet<String>> {
    let listed = bucket.store().list(None).map_ok(|object| object.location.to_string());
    Ok(listed.try_collect().await?)
}

async fn leave(bucket: &TenantBucket, table: &LoadedTable) -> anyhow::Result<()> {
    for file in ["data/of-a-dead-writer.parquet", "data/day=1/deeper.parquet", "metadata/never-committed.avro"] {
        bucket.put(&format!("{}/{file}", table.location()), Bytes::from_static(b"x")).await?;
    }
    Ok(())
}

fn soon() -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::hours(1)
}

#[tokio::test]
async fn what_no_table_knows_goes_and_all_snapshots_stay_whole() -> anyhow::Result<()> {
    let (rig, acme, globex) = (rig().await?, scope("acme")?, scope("globex")?);
    let bucket = rig.bucket.tenant(&acme.tenant);
    let orders = table(&rig, &acme, "orders", 4).await?;
    table(&rig, &acme, "items", 2).await?;
    let theirs = table(&rig, &globex, "orders", 1).await?;
    // Neither is below a table's folders, so neither is judged.
    bucket.put(&bucket.location("uploads/under-way.csv"), Bytes::from_static(b"x")).await?;
    bucket.put(&format!("{}/notes.txt", orders.location()), Bytes::from_static(b"x")).await?;
    let whole = objects(&bucket).await?;
    leave(&bucket, &orders).await?;
    leave(&rig.bucket.tenant(&globex.tenant), &theirs).await?;
    let with_theirs = objects(&bucket).await?.len() - 3;

    let long_ago = OffsetDateTime::now_utc() - time::Duration::hours(1);
    assert_eq!(rig.catalog.collect_orphans(&acme, long_ago).await?, 0, "they are too young");
    assert_eq!(rig.catalog.collect_orphans(&acme, soon()).await?, 3);
    assert_eq!(objects(&bucket).await?.len(), with_theirs);
    assert!(objects(&bucket).await?.is_superset(&whole));
    assert_eq!(rig.catalog.collect_orphans(&acme, soon()).await?, 0);
    for snapshot in orders.metadata.snapshots() {
        let id = Some(snapshot.snapshot_id());
        for file in lakehouse::scan::files(&bucket, &orders.metadata, id).await? {
            bucket.store().head(&file.path).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_names_of_one_table_protect_each_others_files() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    let bucket = rig.bucket.tenant(&acme.tenant);
    let before = table(&rig, &acme, "orders", 1).await?;
    let body = json!({ "name": "twin", "metadata-location": before.metadata_location });
    assert_eq!(rig.post(&acme, "/acme/namespaces/ns/register", body).await?.status, StatusCode::OK);
    table(&rig, &acme, "orders", 2).await?;
    let whole = objects(&bucket).await?;
    assert_eq!(rig.catalog.collect_orphans(&acme, soon()).await?, 0);
    assert_eq!(objects(&bucket).await?, whole);
    Ok(())
}

#[tokio::test]
async fn while_a_table_cannot_be_read_nothing_of_its_tenant_is_deleted() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    let bucket = rig.bucket.tenant(&acme.tenant);
    let (orders, spoilt) = (table(&rig, &acme, "orders", 1).await?, table(&rig, &acme, "spoilt", 1).await?);
    leave(&bucket, &orders).await?;
    let list = spoilt.metadata.current_snapshot().map(|snapshot| snapshot.manifest_list().to_owned());
    bucket.put(&list.unwrap_or_default(), Bytes::from_static(b"no list")).await?;
    let before = objects(&bucket).await?;
    assert!(rig.catalog.collect_orphans(&acme, soon()).await.is_err());
    assert_eq!(objects(&bucket).await?, before);
    Ok(())
}
