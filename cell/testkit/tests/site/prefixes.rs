//! The bucket with the credentials a tenant is given: they end at its prefix.

use std::sync::Arc;

use anyhow::{Context, ensure};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use crate::vended::{keys, vended};
use crate::world::World;

/// Every verb there is, on the neighbour's files, on the other cell's, and on the bucket as a whole.
pub async fn credentials_end_at_the_tenants_prefix(world: Arc<World>) -> anyhow::Result<()> {
    let (mine, own_folder) = vended(&world.acme, "datasets", "orders").await?;
    let (theirs, their_folder) = vended(&world.neighbour, "datasets", "secrets").await?;
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
