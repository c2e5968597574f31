//! Who goes where, with what.

use serde_json::Value;

use crate::site::{Site, until};
use crate::tokens::{claims, jwks, now, sign, signing_key, token};

async fn get(site: &Site, host: &str, bearer: Option<&str>) -> (u16, Value) {
    let client = site.client().build().unwrap();
    let mut request = client.get(site.url(host, "/api/v1/streams?x=secret-query"));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"));
    assert!(!response.headers().contains_key("x-cyto-secret"));
    (status, response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_their_tenants_cell_and_no_other() {
    let site = Site::start().await;
    let (acme, globex) = (token("acme"), token("globex"));
    let cases: Vec<(&str, Option<&str>, u16, &str)> = vec![
        ("acme.localhost", Some(&acme), 200, "shared-1"),
        ("globex.localhost", Some(&globex), 200, "dedicated-1"),
        ("127.0.0.1", Some(&acme), 200, "shared-1"),
        ("127.0.0.1", Some(&globex), 200, "dedicated-1"),
        ("global.localhost", None, 200, "global"),
        ("global.localhost", Some("whatever"), 200, "global"),
        ("globex.localhost", Some(&acme), 403, "router/other-tenant"),
        ("nobody.localhost", Some(&acme), 404, "router/unknown-host"),
        ("acme.localhost", None, 401, "router/token-missing"),
        ("acme.localhost", Some("x.y.z"), 401, "router/token-invalid"),
        ("127.0.0.1", None, 401, "router/token-missing"),
    ];
    for (host, bearer, status, to) in cases {
        let (got, body) = get(&site, host, bearer).await;
        let led = body["peer"].as_str().or(body["code"].as_str()).unwrap();
        assert_eq!((got, led), (status, to), "{host}");
    }
    let log = site.admin("/routes/acme.localhost").await.1;
    assert!(log.contains("gateway.shared-1.cytoplane.internal"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_is_stripped_and_minted_and_nothing_leaks_into_logs() {
    let site = Site::start().await;
    let bearer = token("acme");
    let client = site.client().build().unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let sent = client
        .get(site.url("acme.localhost", "/api/v1/datasets?q=secret-query"))
        .bearer_auth(&bearer)
        .header("x-cyto-tenant", "globex")
        .header("x-cyto-scopes", "*")
        .header("x_cyto_actor", "user:root")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("x-request-id", "client-1")
        .header("traceparent", trace);
    let body: Value = sent.send().await.unwrap().json().await.unwrap();
    let headers = &body["headers"];
    assert_eq!(headers["x-cyto-tenant"], "acme");
    assert_eq!(headers["x-cyto-cell"], "shared-1");
    assert_eq!(headers["x-cyto-generation"], "1");
    assert_eq!(headers["authorization"], format!("Bearer {bearer}"));
    assert_eq!(headers["x-client-request-id"], "client-1");
    assert!(headers.get("x-forwarded-for").is_none());
    assert_eq!(headers["forwarded"], "for=127.0.0.1;host=\"acme.localhost\";proto=http");
    // Without a collector the router is no part of the trace: the cell is the client's own child.
    assert_eq!(headers["traceparent"], trace);
    for gone in ["x-cyto-scopes", "x_cyto_actor"] {
        assert!(headers.get(gone).is_none(), "{gone}");
    }
    assert_eq!(body["authority"], format!("acme.localhost:{}", site.router().http.port()));

    let global: Value = client
        .post(site.url("global.localhost", "/oauth2/token"))
        .basic_auth("id", Some("client-secret"))
        .header("x-cyto-tenant", "acme")
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(global["peer"], "global");
    assert!(global["headers"]["authorization"].as_str().unwrap().starts_with("Basic "));
    assert!(global["headers"].get("x-cyto-tenant").is_none());

    let line = site.logged("/api/v1/datasets").await;
    site.logged("/oauth2/token").await;
    assert_eq!((&line["tenant"], &line["cell"], &line["status"]), (&"acme".into(), &"shared-1".into(), &200.into()));
    assert_eq!(line["request_id"], headers["x-request-id"]);
    let all = site.router().said();
    for secret in [bearer.as_str(), bearer.rsplit('.').next().unwrap(), "secret-query", "client-secret", "Y2xpZW50"] {
        assert!(!all.contains(secret), "{secret} in the logs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_revoked_and_newly_signed_tokens() {
    let mut site = Site::start().await;
    let key = signing_key();
    let expired = sign(&contracts::Claims { exp: now() - 60, ..claims("acme") }, "k1", &key);
    assert_eq!(get(&site, "acme.localhost", Some(&expired)).await.0, 401);

    // A key that appears while the router runs is fetched when a token names it.
    let newer = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let fresh = sign(&claims("acme"), "k2", &newer);
    let global = site.global.as_ref().unwrap().behaviour.clone();
    *global.jwks.lock().await = jwks(&[("k1", &key), ("k2", &newer)]);
    until("the new key", async || get(&site, "acme.localhost", Some(&fresh)).await.0 == 200).await;

    let good = token("acme");
    assert_eq!(get(&site, "acme.localhost", Some(&good)).await.0, 200);
    let line = format!(r#"{{"seq":1,"sid":"session-acme","until":{}}}"#, now() + 900);
    global.revocations.send_modify(|lines| lines.push(line));
    site.wait_for_metric("router_revoked_sessions 1").await;
    let (status, body) = get(&site, "acme.localhost", Some(&good)).await;
    assert_eq!((status, body["code"].as_str()), (401, Some("router/token-invalid")));

    for kind in ["routing", "keys", "revocations"] {
        site.wait_for_snapshot(kind).await;
    }
    // Without the global plane, and after a restart, the session stays revoked.
    site.stop_global().await;
    drop(site.router.take());
    site.start_router("").await;
    assert_eq!(get(&site, "acme.localhost", Some(&good)).await.0, 401);
    assert_eq!(get(&site, "globex.localhost", Some(&token("globex"))).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_names_and_hosts_belong_together() {
    let site = Site::start().await;
    let root = reqwest::Certificate::from_pem(site.authority.pem().as_bytes()).unwrap();
    let https = site.router().https;
    for http1 in [false, true] {
        let mut builder = reqwest::Client::builder().no_proxy().add_root_certificate(root.clone());
        builder = builder.resolve("acme.localhost", https).resolve("globex.localhost", https);
        if http1 {
            builder = builder.http1_only();
        }
        let client = builder.build().unwrap();
        let url = format!("https://acme.localhost:{}/api/v1/streams", https.port());
        let ok = client.get(&url).bearer_auth(token("acme")).send().await.unwrap();
        let version = if http1 { reqwest::Version::HTTP_11 } else { reqwest::Version::HTTP_2 };
        assert_eq!((ok.status().as_u16(), ok.version()), (200, version));
        let body: Value = ok.json().await.unwrap();
        assert!(body["headers"]["forwarded"].as_str().unwrap().ends_with("proto=https"));
        if http1 {
            let other = client.get(&url).bearer_auth(token("globex")).header("host", "globex.localhost");
            assert_eq!(other.send().await.unwrap().status().as_u16(), 421);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_gets_its_certificate_while_the_router_runs() {
    let site = Site::start().await;
    let root = reqwest::Certificate::from_pem(site.authority.pem().as_bytes()).unwrap();
    let https = site.router().https;
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(root).resolve("data.acme.example", https);
    let client = client.build().unwrap();
    let url = format!("https://data.acme.example:{}/api/v1/streams", https.port());
    let ask = async || client.get(&url).bearer_auth(token("acme")).send().await;
    assert!(ask().await.unwrap_err().is_connect(), "the router's own certificate bears another name");
    site.authority.write_pair(&site.folder.path().join("names/data.acme.example"), "data.acme.example");
    assert_eq!(ask().await.unwrap().status().as_u16(), 200);
}
