use std::io::Write;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use testkit::scope;

use super::{new_table, rig};

#[tokio::test]
async fn a_table_is_made_found_moved_and_dropped() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let loaded = rig.get(&acme, "/acme/namespaces/ns/tables/t").await?;
    let location = loaded.body["metadata-location"].as_str().unwrap_or_default();
    assert!(location.starts_with("s3://warehouse/t/acme/iceberg/ns/t-"), "{location}");
    let file = rig.bucket.tenant(&acme.tenant).get(location).await?;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&file)?,
        loaded.body["metadata"],
        "the file is what was answered"
    );
    assert_eq!(rig.post(&acme, "/acme/namespaces/ns/tables", new_table("t")).await?.error(), "AlreadyExistsException");

    let rename =
        json!({ "source": { "namespace": ["ns"], "name": "t" }, "destination": { "namespace": ["ns"], "name": "u" } });
    assert_eq!(rig.post(&acme, "/acme/tables/rename", rename).await?.status, StatusCode::NO_CONTENT);
    let list = rig.get(&acme, "/acme/namespaces/ns/tables").await?;
    assert_eq!(list.body, json!({ "identifiers": [{ "namespace": ["ns"], "name": "u" }] }));
    assert_eq!(
        rig.send(&acme, "DELETE", "/acme/namespaces/ns", None, &[]).await?.error(),
        "NamespaceNotEmptyException"
    );

    assert_eq!(
        rig.send(&acme, "DELETE", "/acme/namespaces/ns/tables/u?purgeRequested=True", None, &[]).await?.status,
        StatusCode::NO_CONTENT
    );
    assert!(rig.bucket.tenant(&acme.tenant).get(location).await.is_err_and(|error| error.is_not_found()), "purged");
    assert_eq!(rig.get(&acme, "/acme/namespaces/ns/tables/u").await?.error(), "NoSuchTableException");
    assert_eq!(rig.send(&acme, "DELETE", "/acme/namespaces/ns", None, &[]).await?.status, StatusCode::NO_CONTENT);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_is_current_is_not_sent_again() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let path = "/acme/namespaces/ns/tables/t";
    let first = rig.get(&acme, path).await?;
    let tag = first.headers["etag"].to_str()?.to_owned();
    assert_eq!(rig.send(&acme, "GET", path, None, &[("if-none-match", &tag)]).await?.status, StatusCode::NOT_MODIFIED);
    let refs = format!("{path}?snapshots=refs");
    assert_eq!(
        rig.send(&acme, "GET", &refs, None, &[("if-none-match", &tag)]).await?.status,
        StatusCode::OK,
        "another view has another tag"
    );
    rig.post(&acme, path, json!({ "updates": [{ "action": "set-properties", "updates": { "a": "1" } }] })).await?;
    assert_eq!(rig.send(&acme, "GET", path, None, &[("if-none-match", &tag)]).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn lists_come_in_pages_only_when_asked_for() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    for name in ["c", "a", "b"] {
        rig.post(&acme, "/acme/namespaces", json!({ "namespace": [name] })).await?;
    }
    assert_eq!(rig.get(&acme, "/acme/namespaces").await?.body, json!({ "namespaces": [["a"], ["b"], ["c"]] }));
    let first = rig.get(&acme, "/acme/namespaces?pageToken=&pageSize=2").await?;
    assert_eq!(first.body["namespaces"], json!([["a"], ["b"]]));
    let token = first.body["next-page-token"].as_str().unwrap_or_default();
    let last = rig.get(&acme, &format!("/acme/namespaces?pageToken={token}&pageSize=2")).await?;
    assert_eq!(last.body, json!({ "namespaces": [["c"]] }));
    assert_eq!(rig.get(&acme, "/acme/namespaces?pageToken=x").await?.status, StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn namespaces_nest_and_keep_properties() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    assert_eq!(
        rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["a", "b"] })).await?.error(),
        "NoSuchNamespaceException"
    );
    rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["a"], "properties": { "owner": "x" } })).await?;
    assert_eq!(rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["a", "b"] })).await?.status, StatusCode::OK);
    assert_eq!(rig.get(&acme, "/acme/namespaces?parent=a").await?.body, json!({ "namespaces": [["a", "b"]] }));
    assert_eq!(rig.get(&acme, "/acme/namespaces/a%1Fb").await?.body["namespace"], json!(["a", "b"]));
    let change = json!({ "removals": ["owner", "none"], "updates": { "k": "v" } });
    let changed = rig.post(&acme, "/acme/namespaces/a/properties", change).await?;
    assert_eq!(changed.body, json!({ "updated": ["k"], "removed": ["owner"], "missing": ["none"] }));
    assert_eq!(rig.get(&acme, "/acme/namespaces/a").await?.body["properties"], json!({ "k": "v" }));
    assert_eq!(
        rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["x.y"] })).await?.status,
        StatusCode::BAD_REQUEST
    );
    Ok(())
}

#[tokio::test]
async fn the_cells_keys_are_never_in_an_answer() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let asked = [("x-iceberg-access-delegation", "vended-credentials")];
    for path in ["/config", "/acme/namespaces/ns/tables/t", "/acme/namespaces/ns/tables/t/credentials"] {
        let answer = rig.send(&acme, "GET", path, None, &asked).await?;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text.contains("never shown") && !answer.text.contains("s3.secret-access-key"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_metadata_is_not_registered() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let bucket = rig.bucket.tenant(&acme.tenant);
    let loaded = rig.get(&acme, "/acme/namespaces/ns/tables/t").await?;
    let good = bucket.get(loaded.body["metadata-location"].as_str().unwrap_or_default()).await?;
    let packed = |bytes: &[u8]| -> anyhow::Result<Bytes> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes)?;
        Ok(packer.finish()?.into())
    };
    bucket.put(&bucket.location("m/words"), Bytes::from_static(b"no metadata")).await?;
    bucket.put(&bucket.location("m/long"), Bytes::from(vec![b' '; 2 << 20])).await?;
    bucket.put(&bucket.location("m/unpacks.gz"), packed(&vec![b' '; 2 << 20])?).await?;
    bucket.put(&bucket.location("m/good.gz"), packed(&good)?).await?;
    for (file, status) in [("none", 400), ("words", 400), ("long", 400), ("unpacks.gz", 400), ("good.gz", 200)] {
        let at = bucket.location(&format!("m/{file}"));
        let body = json!({ "name": "r", "metadata-location": at });
        let answer = rig.post(&acme, "/acme/namespaces/ns/register", body).await?;
        assert_eq!(answer.status.as_u16(), status, "{file}: {}", answer.text);
    }
    Ok(())
}
