//! The HTTP surface: forms, status codes, headers.

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

fn surface(identity: &Identity) -> Router {
    crate::router(identity.clone())
        .layer(from_fn_with_state(identity.clone(), crate::authenticate))
        .merge(crate::internal_router(identity.clone()))
}

async fn send(identity: &Identity, request: Request<Body>) -> anyhow::Result<(Response<()>, Value)> {
    let (parts, body) = surface(identity).oneshot(request).await?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok((Response::from_parts(parts, ()), serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

fn form(path: &str, body: &str) -> Request<Body> {
    let builder = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    builder.body(Body::from(body.to_owned())).unwrap()
}

fn json(method: &str, path: &str, bearer: Option<&str>, body: Value) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = bearer {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn the_token_endpoint_speaks_oauth() -> Done {
    let identity = identity().await?;
    for (body, status, error) in [
        ("", 400, "invalid_request"),
        ("grant_type=password", 400, "unsupported_grant_type"),
        ("grant_type=client_credentials", 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=x&client_secret=y", 401, "invalid_client"),
        ("grant_type=refresh_token&refresh_token=x", 400, "invalid_grant"),
    ] {
        let (response, answer) = send(&identity, form("/oauth2/token", body)).await?;
        assert_eq!((response.status().as_u16(), &answer["error"]), (status, &Value::from(error)), "{body}");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_is_opened_used_and_closed() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    let body = serde_json::json!({"email": "Ada@Acme.example", "password": PASSWORD});
    let (response, answer) = send(&identity, json("POST", "/api/v1/sessions", None, body)).await?;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let (_, info) = send(&identity, json("GET", "/oauth2/userinfo", Some(&token), Value::Null)).await?;
    assert_eq!(info["tenants"], serde_json::json!(["acme"]));
    let (closed, _) = send(&identity, json("DELETE", "/api/v1/sessions/current", Some(&token), Value::Null)).await?;
    assert_eq!(closed.status(), StatusCode::NO_CONTENT);
    let (after, problem) = send(&identity, json("GET", "/oauth2/userinfo", Some(&token), Value::Null)).await?;
    assert_eq!(
        (after.status(), &problem["code"]),
        (StatusCode::UNAUTHORIZED, &Value::from("identity/unauthenticated"))
    );
    Ok(())
}

/// Every described operation, without a token: signing in is open, everything else is not.
#[tokio::test]
async fn no_operation_answers_a_stranger() -> Done {
    let identity = identity().await?;
    let document = serde_json::to_value(crate::openapi())?;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let open = ["sign-in", "discovery"].contains(&operation["tags"][0].as_str().unwrap());
            if open && !path.starts_with("/api/v1/sessions/") && path != "/oauth2/userinfo" {
                continue;
            }
            let path =
                path.replace("{id}", &Uuid::nil().to_string()).replace("{tenant}", "acme").replace("{sid}", "current");
            let path = path.replace("{subject}", &Uuid::nil().to_string());
            let (response, _) = send(&identity, json(&method.to_uppercase(), &path, None, Value::Null)).await?;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked}");
    Ok(())
}

#[tokio::test]
async fn the_key_set_is_cacheable_and_holds_no_private_part() -> Done {
    let identity = identity().await?;
    let get = |etag: Option<&str>| {
        let builder = Request::get("/.well-known/jwks.json").header("if-none-match", etag.unwrap_or("-"));
        builder.body(Body::empty()).unwrap()
    };
    let (response, set) = send(&identity, get(None)).await?;
    assert!(set["keys"].as_array().unwrap().iter().all(|k| k.get("d").is_none() && k["alg"] == "EdDSA"));
    let etag = response.headers()["etag"].to_str()?.to_owned();
    let (again, _) = send(&identity, get(Some(&etag))).await?;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    Ok(())
}

#[tokio::test]
async fn a_reader_hears_of_a_revocation_while_it_listens() -> Done {
    let identity = identity().await?;
    ada(&identity, &["*"]).await?;
    let (tasks, _failures) = kit::tasks::Tasks::new();
    identity.start(&tasks).await?;
    let request = Request::get("/internal/v1/revocations").body(Body::empty())?;
    let response = surface(&identity).oneshot(request).await?;
    assert_eq!(response.headers()["x-cyto-head"], "0");
    let mut body = response.into_body();
    let mut next = async || -> anyhow::Result<Vec<u8>> {
        let frame = body.frame().await.ok_or_else(|| anyhow::anyhow!("the feed ended"))??;
        Ok(frame.into_data().map_err(|_| anyhow::anyhow!("no data"))?.to_vec())
    };
    assert_eq!(next().await?, b"\n", "nothing yet, but alive");
    let grant = sign_in(&identity, &in_tenant("acme")).await?;
    crate::ops::sessions::revoke_token(&identity, &grant.access_token).await?;
    let mut heard = next().await?;
    // Signing in takes its time; the feed says meanwhile that it lives.
    while heard == b"\n" {
        heard = next().await?;
    }
    let line: contracts::claims::Revocation = serde_json::from_slice(&heard)?;
    let sid = verified(&identity, contracts::claims::AUDIENCE_CELL, &grant.access_token)?.sid;
    assert_eq!((line.seq, line.sid), (1, sid));
    assert!(tasks.drain(std::time::Duration::from_secs(60)).await);
    Ok(())
}
