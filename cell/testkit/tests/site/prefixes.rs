//! The bucket with the credentials a tenant is given: they end at its prefix.

use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use reqwest::Method;
use testkit::{Answer, Tenant};

use crate::world::World;

/// Bucket and folder of a table, and a client with the credentials that come with it.
async fn vended(tenant: &Tenant, table: &str) -> anyhow::Result<(Arc<dyn ObjectStore>, String)> {
    let path = format!("/iceberg/v1/{}/namespaces/datasets/tables/{table}", tenant.id);
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

async fn keys(store: &dyn ObjectStore, folder: &str) -> object_store::Result<Vec<Path>> {
    store.list(Some(&Path::from(folder))).map_ok(|object| object.location).try_collect().await
}

/// Every verb there is, on the neighbour's files, on the other cell's, and on the bucket as a whole.
pub async fn credentials_end_at_the_tenants_prefix(world: Arc<World>) -> anyhow::Result<()> {
    let (mine, own_folder) = vended(&world.acme, "orders").await?;
    let (theirs, their_folder) = vended(&world.neighbour, "secrets").await?;
    ensure!(!keys(mine.as_ref(), &own_folder).await?.is_empty(), "the credentials are not good at all");
    let secret = keys(theirs.as_ref(), &their_folder).await?.pop().context("the neighbour has no file")?;
    let before = theirs.head(&secret).await?;
    let planted = Path::from(format!("{their_folder}/planted"));
    let mut leaks = Vec::new();
    let mut note = |what: &str, outcome: bool| outcome.then(|| leaks.push(what.to_owned()));
    note("get", mine.get(&secret).await.is_ok());
    note("head", mine.head(&secret).await.is_ok());
    note("list", keys(mine.as_ref(), &their_folder).await.is_ok_and(|found| !found.is_empty()));
    note(
        "list of the tenant",
        keys(mine.as_ref(), &format!("t/{}", world.neighbour.id)).await.is_ok_and(|f| !f.is_empty()),
    );
    note(
        "list of the bucket",
        keys(mine.as_ref(), "t").await.is_ok_and(|f| f.iter().any(|k| k.as_ref().contains("neighbour"))),
    );
    note("put", mine.put(&planted, PutPayload::from_static(b"x")).await.is_ok());
    note("overwrite", mine.put(&secret, PutPayload::from_static(b"x")).await.is_ok());
    note("copy there", mine.copy(&Path::from(own_file(mine.as_ref(), &own_folder).await?), &planted).await.is_ok());
    note("copy from there", mine.copy(&secret, &Path::from(format!("{own_folder}/stolen"))).await.is_ok());
    note("delete", mine.delete(&secret).await.is_ok() && theirs.head(&secret).await.is_err());
    let parts = mine.put_multipart(&planted).await;
    note(
        "multipart",
        match parts {
            Ok(mut upload) => {
                upload.put_part(PutPayload::from_static(b"x")).await.is_ok() && upload.complete().await.is_ok()
            }
            Err(_) => false,
        },
    );
    ensure!(leaks.is_empty(), "acme's credentials can {leaks:?} in {their_folder}");
    ensure!(theirs.head(&secret).await? == before, "the neighbour's file changed");
    ensure!(theirs.head(&planted).await.is_err(), "something was planted");
    Ok(())
}

async fn own_file(store: &dyn ObjectStore, folder: &str) -> anyhow::Result<String> {
    Ok(keys(store, folder).await?.pop().context("no file of one's own")?.to_string())
}
