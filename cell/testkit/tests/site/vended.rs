//! A tenant's part of the bucket, with the credentials that the catalog gives its clients.

use std::sync::Arc;

use anyhow::Context;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use reqwest::Method;
use testkit::{Answer, Tenant};

/// Bucket and folder of a table, and a client with the credentials that come with it.
pub async fn vended(tenant: &Tenant, namespace: &str, table: &str) -> anyhow::Result<(Arc<dyn ObjectStore>, String)> {
    let path = format!("/iceberg/v1/{}/namespaces/{namespace}/tables/{table}", tenant.id);
    let request = tenant.request(Method::GET, &path).header("x-iceberg-access-delegation", "vended-credentials");
    let answer = Answer::of(request).await?.good()?;
    let setting = |name: &str| answer["config"][name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    let location = answer["metadata"]["location"].as_str().context("no location")?;
    let (bucket, folder) = location.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).context("no bucket")?;
    let store = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(setting("s3.endpoint")?)
        .with_region(setting("s3.region")?)
        .with_access_key_id(setting("s3.access-key-id")?)
        .with_secret_access_key(setting("s3.secret-access-key")?)
        .with_token(setting("s3.session-token")?)
        .with_allow_http(true)
        .build()?;
    Ok((Arc::new(store), folder.to_owned()))
}

/// Everything that lies below a folder.
pub async fn keys(store: &dyn ObjectStore, folder: &str) -> object_store::Result<Vec<Path>> {
    store.list(Some(&Path::from(folder))).map_ok(|object| object.location).try_collect().await
}
