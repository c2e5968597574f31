//! Cells, their reports, and the contracts they report on; and the HTTP surface.

use axum::Router;
use axum::body::Body;
use contracts::bundle::{self, CellReport};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kit::http::Peer;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::domain::draining::Way;
use crate::ops::{contracts as bundles, draining};

fn report(drift: &[&str]) -> CellReport {
    CellReport {
        contracts_version: bundle::VERSION,
        contracts_sha256: bundle::sha256(&bundle::canonical()),
        drift: drift.iter().map(|d| (*d).to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_cell_that_says_the_same_at_every_start_changes_nothing() -> Done {
    let site = site().await?;
    let before = snapshot(&site.tenancy.0.pool).await?.version;
    put_cell(&site.tenancy, "shared-1", 1, CellKind::Shared).await?;
    assert_eq!(snapshot(&site.tenancy.0.pool).await?.version, before);
    put_cell(&site.tenancy, "shared-1", 9, CellKind::Shared).await?;
    assert_eq!(snapshot(&site.tenancy.0.pool).await?.version, before + 1);
    let twin =
        cells::put(&site.tenancy, &platform(), &cell("shared-2"), &registration(9, CellKind::Shared), false).await;
    assert!(matches!(twin, Err(Error::Exists(_))), "two cells at one address");
    let again =
        cells::put(&site.tenancy, &platform(), &cell("shared-1"), &registration(9, CellKind::Shared), true).await;
    assert!(matches!(again, Err(Error::Exists(_))));
    let stranger =
        cells::put(&site.tenancy, &admin_of("acme-corp"), &cell("x1"), &registration(8, CellKind::Shared), true).await;
    assert!(matches!(stranger, Err(Error::Forbidden)));
    Ok(())
}

#[tokio::test]
async fn no_cell_bears_a_name_of_the_platforms_own() -> Done {
    let site = site().await?;
    for name in ["global", "router"] {
        let put = cells::put(&site.tenancy, &platform(), &cell(name), &registration(7, CellKind::Shared), true).await;
        assert!(matches!(put, Err(Error::Invalid(_))), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_requested_cell_serves_when_it_has_reported_that_it_is_ready() -> Done {
    let site = site().await?;
    let tenancy = &site.tenancy;
    let new = Registration { state: Some(CellState::Requested), ..registration(5, CellKind::Shared) };
    cells::put(tenancy, &platform(), &cell("shared-5"), &new, true).await?;
    let here = async || {
        tenants::create(tenancy, &platform(), &tenant("acme"), born("acme-corp", Some("shared-5"), None)).await
    };
    let state = async || Ok::<_, Error>(cells::find(tenancy, &platform(), "shared-5").await?.cell.state()?);
    assert!(matches!(here().await, Err(Error::Placement(_))));
    let gateway = "spiffe://cytoplane/shared-5/gateway";
    cells::report(tenancy, gateway, &cell("shared-5"), &report(&["topic x: 3 partitions"])).await?;
    assert_eq!(state().await?, CellState::Requested, "it is not as the contracts say");
    cells::report(tenancy, gateway, &cell("shared-5"), &report(&[])).await?;
    assert_eq!(state().await?, CellState::Serving);
    here().await?;
    let again = Registration { state: Some(CellState::Requested), ..registration(5, CellKind::Shared) };
    assert!(cells::put(tenancy, &platform(), &cell("shared-5"), &again, false).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_retired_cell_leaves_the_table_and_its_name_stays_taken() -> Done {
    let site = site().await?;
    let (tenancy, pool) = (&site.tenancy, &site.tenancy.0.pool);
    create(tenancy, "acme", "acme-corp").await?;
    let put = async |name: &str, number, state| {
        let change = Registration { state, ..registration(number, CellKind::Shared) };
        cells::put(tenancy, &platform(), &cell(name), &change, false).await
    };
    let retired = Some(CellState::Retired);
    assert!(matches!(put("shared-1", 1, retired).await, Err(Error::Placement(_))), "it has a tenant");
    put("shared-2", 3, None).await?;
    put("shared-2", 3, retired).await?;
    let table = snapshot(pool).await?;
    assert!(!table.cells.contains_key(&cell("shared-2")));
    put("shared-2", 3, None).await?;
    assert_eq!(snapshot(pool).await?.version, table.version, "a site's next start does not bring it back");
    for state in [CellState::Serving, CellState::Draining, CellState::Requested] {
        assert!(matches!(put("shared-2", 3, Some(state)).await, Err(Error::Placement(_))), "{state:?}");
    }
    assert!(matches!(cells::remove(tenancy, &platform(), &cell("shared-2")).await, Err(Error::Placement(_))));
    let drained = draining::begin(tenancy, &platform(), &cell("shared-2"), Way::Route, None).await;
    assert!(matches!(drained, Err(Error::Placement(_))));
    let placed =
        tenants::create(tenancy, &platform(), &tenant("other"), born("acme-corp", Some("shared-2"), None)).await;
    assert!(matches!(placed, Err(Error::Invalid(_))));
    // Another cell may have its address.
    put("shared-3", 3, None).await?;
    assert_eq!(replay(pool).await?, snapshot(pool).await?);
    Ok(())
}

#[tokio::test]
async fn a_cell_with_tenants_stays() -> Done {
    let site = site().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    assert!(matches!(cells::remove(&site.tenancy, &platform(), &cell("shared-1")).await, Err(Error::CellInUse)));
    cells::remove(&site.tenancy, &platform(), &cell("dedicated-1")).await?;
    assert_eq!(replay(&site.tenancy.0.pool).await?, snapshot(&site.tenancy.0.pool).await?);
    Ok(())
}

#[tokio::test]
async fn a_cell_reports_for_itself_only() -> Done {
    let site = site().await?;
    let (tenancy, own) = (&site.tenancy, "spiffe://cytoplane/shared-1/cell");
    cells::report(tenancy, own, &cell("shared-1"), &report(&["topic x is missing"])).await?;
    let status = cells::find(tenancy, &platform(), "shared-1").await?;
    assert_eq!(status.drift, Some(vec!["topic x is missing".to_owned()]));
    for (peer, target) in [
        (own, "dedicated-1"),
        ("spiffe://cytoplane/shared-10/cell", "shared-1"),
        ("spiffe://cytoplane/router/router", "shared-1"),
    ] {
        let refused = cells::report(tenancy, peer, &cell(target), &report(&[])).await;
        assert!(matches!(refused, Err(Error::NotTheCell)), "{peer} for {target}");
    }
    let unknown = cells::report(tenancy, "spiffe://cytoplane/shared-7/cell", &cell("shared-7"), &report(&[])).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    let malformed = CellReport { contracts_sha256: "x".into(), ..report(&[]) };
    assert!(matches!(cells::report(tenancy, own, &cell("shared-1"), &malformed).await, Err(Error::Invalid(_))));
    Ok(())
}

#[tokio::test]
async fn a_published_version_never_changes_and_is_signed_whole() -> Done {
    let site = site().await?;
    sqlx::query("update contract_bundles set document = '{}', sha256 = $1")
        .bind(bundle::sha256("{}"))
        .execute(&site.tenancy.0.pool)
        .await?;
    bundles::publish(&site.tenancy).await?;
    let signed = bundles::signed(&site.tenancy, None).await?;
    assert_eq!((signed.document.as_str(), signed.kid.as_str()), ("{}", "k1"));
    assert_eq!(signed.signature, bundle::sha256("{}"));
    assert!(matches!(bundles::signed(&site.tenancy, Some(999)).await, Err(Error::NotFound(_))));
    assert!(matches!(bundles::signed(&site.tenancy, Some(u32::MAX)).await, Err(Error::NotFound(_))));
    Ok(())
}

async fn send(router: Router, method: &str, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let (parts, body) = router.oneshot(request.body(Body::from(body.to_string()))?).await?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok((parts.status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn no_operation_answers_a_stranger() -> Done {
    let site = site().await?;
    let document = serde_json::to_value(crate::openapi())?;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let path = path.replace("{tenant}", "acme").replace("{cell}", "shared-1");
            let path = path.replace("{organisation}", "acme-corp").replace("{host}", "a.example");
            let router = crate::router(site.tenancy.clone());
            let (status, problem) = send(router, &method.to_uppercase(), &path, &Value::Null).await?;
            assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &Value::from("tenancy/unauthenticated")));
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked}");
    Ok(())
}

#[tokio::test]
async fn a_tenant_is_created_and_read_over_http() -> Done {
    let site = site().await?;
    let claims: Claims = serde_json::from_value(serde_json::json!({
        "iss": ISSUER, "sub": "root", "scp": "platform:admin", "sid": "s", "aud": AUDIENCE_GLOBAL,
        "iat": 0, "exp": 0, "jti": "j",
    }))?;
    let router = || crate::router(site.tenancy.clone()).layer(axum::Extension(claims.clone()));
    let body = serde_json::json!({"id": "acme", "organisation": "acme-corp"});
    let (status, created) = send(router(), "POST", "/api/v1/tenants", &body).await?;
    assert_eq!((status, &created["host"]), (StatusCode::CREATED, &Value::from("acme.localhost")));
    let (status, again) = send(router(), "POST", "/api/v1/tenants", &body).await?;
    assert_eq!((status, &again), (StatusCode::OK, &created));
    let (_, listed) = send(router(), "GET", "/api/v1/tenants?pageSize=1", &Value::Null).await?;
    assert_eq!(listed, serde_json::json!({"data": [created]}));
    let (status, problem) = send(router(), "GET", "/api/v1/tenants?pageSize=0", &Value::Null).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &Value::from("request/page")));

    let internal = crate::internal_router(site.tenancy.clone())
        .layer(axum::Extension(Peer("spiffe://cytoplane/shared-1/cell".into())));
    let reported =
        send(internal, "POST", "/internal/v1/cells/shared-1/report", &serde_json::to_value(report(&[]))?).await?;
    assert_eq!(reported.0, StatusCode::NO_CONTENT);
    Ok(())
}
