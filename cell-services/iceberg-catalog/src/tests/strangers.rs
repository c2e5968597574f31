use contracts::Generation;
use http::StatusCode;
use serde_json::{Value, json};
use testkit::{scope, scope_with};

use super::{Rig, new_table, rig};

/// Every operation there is, with the path filled in for one tenant's table.
fn operations(tenant: &str) -> Vec<(String, String)> {
    let document = serde_json::to_value(crate::api::openapi()).unwrap_or_default();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let Some(path) = path.strip_prefix("/iceberg/v1").filter(|path| path.contains("{prefix}")) else { continue };
        let path = path.replace("{prefix}", tenant).replace("{namespace}", "ns").replace("{table}", "t");
        for method in item.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase()) {
            found.push((method, path.clone()));
        }
    }
    found
}

async fn untouched(rig: &Rig) -> anyhow::Result<()> {
    let list = rig.get(&scope("globex")?, "/globex/namespaces/ns/tables").await?;
    assert_eq!(list.body["identifiers"], json!([{ "namespace": ["ns"], "name": "t" }]));
    Ok(())
}

#[tokio::test]
async fn another_tenants_warehouse_does_not_exist_on_any_route() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&scope("globex")?, "t").await?;
    let all = operations("globex");
    assert!(all.len() >= 16, "{all:?}");
    for (method, path) in all {
        for body in [None, Some(json!({})), Some(new_table("x"))] {
            let answer = rig.send(&acme, &method, &path, body, &[]).await?;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.text);
        }
    }
    assert_eq!(rig.get(&acme, "/config?warehouse=globex").await?.status, StatusCode::NOT_FOUND);
    untouched(&rig).await
}

#[tokio::test]
async fn the_same_names_in_ones_own_warehouse_are_not_the_other_tenants() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&scope("globex")?, "t").await?;
    for path in [
        "/acme/namespaces/ns",
        "/acme/namespaces/ns/tables",
        "/acme/namespaces/ns/tables/t",
        "/acme/namespaces/ns/tables/t/credentials",
    ] {
        assert_eq!(rig.get(&acme, path).await?.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(rig.get(&acme, "/acme/namespaces").await?.body, json!({ "namespaces": [] }));
    let stolen = rig.get(&scope("globex")?, "/globex/namespaces/ns/tables/t").await?.body["metadata-location"].clone();
    rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["ns"] })).await?;
    let register =
        rig.post(&acme, "/acme/namespaces/ns/register", json!({ "name": "t", "metadata-location": stolen })).await?;
    assert_eq!(register.status, StatusCode::BAD_REQUEST, "{}", register.text);
    untouched(&rig).await
}

#[tokio::test]
async fn nothing_in_a_request_leads_to_another_tenants_files() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let foreign = "s3://warehouse/t/globex/x";
    let mut table = new_table("evil");
    table["location"] = json!(foreign);
    assert_eq!(rig.post(&acme, "/acme/namespaces/ns/tables", table).await?.status, StatusCode::BAD_REQUEST);
    let statistics = json!({ "snapshot-id": 1, "statistics-path": foreign, "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": [] });
    let updates: [Value; 5] = [
        json!({ "action": "set-location", "location": foreign }),
        json!({ "action": "set-properties", "updates": { "write.data.path": foreign } }),
        json!({ "action": "set-properties", "updates": { "write.metadata.path": "s3://warehouse/t/acme/../globex/x" } }),
        super::snapshot(1, 1, foreign)[0].clone(),
        json!({ "action": "set-statistics", "snapshot-id": 1, "statistics": statistics }),
    ];
    for update in updates {
        let answer = rig.post(&acme, "/acme/namespaces/ns/tables/t", json!({ "updates": [update] })).await?;
        assert_eq!(
            (answer.status, answer.error()),
            (StatusCode::BAD_REQUEST, "BadRequestException"),
            "{}",
            answer.text
        );
    }
    Ok(())
}

#[tokio::test]
async fn who_may_only_read_changes_nothing() -> anyhow::Result<()> {
    let rig = rig().await?;
    rig.with_table(&scope("acme")?, "t").await?;
    let reader = scope_with("acme", "catalog:read")?;
    assert_eq!(rig.get(&reader, "/acme/namespaces/ns/tables/t").await?.status, StatusCode::OK);
    let writes = [
        ("POST", "/acme/namespaces", json!({ "namespace": ["x"] })),
        ("DELETE", "/acme/namespaces/ns", Value::Null),
        ("POST", "/acme/namespaces/ns/properties", json!({})),
        ("POST", "/acme/namespaces/ns/tables", new_table("x")),
        ("POST", "/acme/namespaces/ns/tables/t", json!({})),
        ("DELETE", "/acme/namespaces/ns/tables/t", Value::Null),
        (
            "POST",
            "/acme/namespaces/ns/register",
            json!({ "name": "x", "metadata-location": "s3://warehouse/t/acme/x" }),
        ),
        ("POST", "/acme/transactions/commit", json!({ "table-changes": [] })),
    ];
    for (method, path, body) in writes {
        assert_eq!(
            rig.send(&reader, method, path, Some(body), &[]).await?.error(),
            "ForbiddenException",
            "{method} {path}"
        );
    }
    assert_eq!(rig.get(&scope_with("acme", "streams:read")?, "/acme/namespaces").await?.error(), "ForbiddenException");
    Ok(())
}

#[tokio::test]
async fn bad_requests_get_the_envelope() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    for (method, path, body) in [
        ("POST", "/acme/namespaces", json!("nonsense")),
        ("POST", "/acme/namespaces", json!({ "namespace": [] })),
        ("POST", "/acme/namespaces/ns/tables", json!({ "name": "x" })),
        ("GET", "/acme/namespaces/ns/tables/t?snapshots=some", Value::Null),
        ("GET", "/acme/nothing/here", Value::Null),
    ] {
        let answer = rig.send(&acme, method, path, Some(body), &[]).await?;
        assert!(answer.status.is_client_error() && answer.error() != "no error", "{method} {path}: {}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_tenant_that_has_moved_on_is_refused_by_generation() -> anyhow::Result<()> {
    let rig = rig().await?;
    let mut acme = scope("acme")?;
    acme.generation = Generation(7);
    rig.with_table(&acme, "t").await?;
    acme.generation = Generation(6);
    for (method, path) in [("GET", "/acme/namespaces/ns/tables/t"), ("POST", "/acme/namespaces/ns/tables/t")] {
        let answer = rig.send(&acme, method, path, Some(json!({ "updates": [] })), &[]).await?;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(answer.headers["x-cyto-generation-required"], "7");
    }
    Ok(())
}
