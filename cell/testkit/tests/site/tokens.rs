//! Wrong, expired, foreign and revoked tokens, at HTTP and at Flight SQL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::Claims;
use contracts::claims::{AUDIENCE_CELL, ISSUER};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Tenant, within};
use tonic::Code;

use crate::flight::refused_everything;
use crate::matrix::{turned_away_at_the_global_plane, turned_away_everywhere};
use crate::openapi::routes;
use crate::world::World;

const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;

/// Whether both doors refuse the bearer, in the way HTTP and gRPC say it.
pub async fn is_refused(tenant: &Tenant, what: &str) -> anyhow::Result<()> {
    let answer = tenant.answer(Method::GET, "/api/v1/me").await?;
    ensure!([401, 403].contains(&answer.status.as_u16()), "{what} at HTTP: {} {}", answer.status, answer.excerpt());
    let error = match tenant.sql().await?.execute("select 1").await {
        Ok(_) => anyhow::bail!("{what} at Flight SQL: answered"),
        Err(error) => error,
    };
    let code = error.status().with_context(|| format!("{what} at Flight SQL: {error}"))?.code() as i32;
    ensure!([UNAUTHENTICATED, PERMISSION_DENIED].contains(&code), "{what} at Flight SQL: gRPC code {code}");
    Ok(())
}

fn parts(token: &str) -> anyhow::Result<(Value, Claims, String)> {
    let mut parts = token.split('.');
    let mut next = || parts.next().context("not a token");
    let (header, claims, signature) = (next()?, next()?, next()?.to_owned());
    let header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok((header, serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?, signature))
}

fn assemble(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

pub async fn forged_tokens_are_refused(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = &world.acme;
    let (header, claims, signature) = parts(&tenant.token())?;
    let claims_json = serde_json::to_value(&claims)?;
    let none = json!({ "alg": "none", "typ": "at+jwt" });
    let mut elevated = claims_json.clone();
    elevated["tid"] = json!(world.neighbour.id);
    let own_key = {
        let key = ed25519_dalek::SigningKey::from_bytes(&rand::random());
        let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&key)?;
        let kid = header["kid"].as_str().map(str::to_owned);
        let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &EncodingKey::from_ed_der(der.as_bytes()))?
    };
    let hmac = {
        let header = Header { kid: header["kid"].as_str().map(str::to_owned), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(b"guess"))?
    };
    for (what, token) in [
        ("no token", String::new()),
        ("nonsense", "nonsense".to_owned()),
        ("an unsigned token", assemble(&none, &claims_json, "")),
        ("an unsigned token with a signature", assemble(&none, &claims_json, &signature)),
        ("changed claims", assemble(&header, &elevated, &signature)),
        ("a stranger's key", own_key),
        ("a shared-secret signature", hmac),
    ] {
        is_refused(&tenant.with_token(token), what).await?;
    }
    Ok(())
}

/// Good for the global plane's own API only.
pub async fn a_global_token_opens_no_cell(world: Arc<World>) -> anyhow::Result<()> {
    let (_, claims, _) = parts(&world.admin.token())?;
    ensure!(claims.aud != AUDIENCE_CELL && claims.iss == ISSUER, "{claims:?}");
    is_refused(&world.acme.with_token(world.admin.token()), "the administrator's global token").await
}

pub async fn a_cell_token_opens_no_global_plane(world: Arc<World>) -> anyhow::Result<()> {
    for path in ["/api/v1/tenants", "/api/v1/cells", "/api/v1/organisations", "/api/v1/users"] {
        let request = world.acme.http().request(Method::GET, "global", path).bearer_auth(world.acme.token());
        let answer = Answer::of(request).await?;
        ensure!([401, 403].contains(&answer.status.as_u16()), "{path}: {} {}", answer.status, answer.excerpt());
    }
    Ok(())
}

/// The host names one tenant, the token another.
pub async fn a_foreign_token_is_refused_at_the_tenants_host(world: Arc<World>) -> anyhow::Result<()> {
    for (visitor, host) in [
        (&world.acme, &world.globex),
        (&world.globex, &world.acme),
        (&world.neighbour, &world.acme),
        (&world.acme, &world.neighbour),
    ] {
        let at_host = host.with_token(visitor.token());
        for path in ["/api/v1/me", "/api/v1/datasets", "/api/v1/streams", "/iceberg/v1/config"] {
            let answer = at_host.answer(Method::GET, path).await?;
            ensure!(
                [401, 403, 404].contains(&answer.status.as_u16()),
                "{} at {}{path}: {} {}",
                visitor.id,
                host.id,
                answer.status,
                answer.excerpt()
            );
        }
    }
    Ok(())
}

/// A bearer cannot say by headers what the router has to find out by itself.
pub async fn minted_headers_of_a_client_change_nothing(world: Arc<World>) -> anyhow::Result<()> {
    let request = world
        .acme
        .request(Method::GET, "/api/v1/me")
        .header("x-cyto-tenant", world.neighbour.id.as_str())
        .header("x-cyto-actor", "service:gateway")
        .header("x-cyto-scopes", "platform:admin")
        .header("x-cyto-generation", "999999")
        .header("X-CYTO-CELL", world.globex.cell.as_str());
    let me = Answer::of(request).await?.good()?;
    ensure!(me["tenant"] == world.acme.id.as_str() && me["cell"] == world.acme.cell.as_str(), "{me}");
    ensure!(!me.to_string().contains("platform:admin") && !me["actor"].to_string().contains("gateway"), "{me}");
    Ok(())
}

/// Scopes are read in the cell: who may only read cannot write.
pub async fn a_missing_scope_is_refused(world: Arc<World>) -> anyhow::Result<()> {
    let reader = world.member(&world.acme, &["datasets:read", "sql:read"]).await?;
    ensure!(reader.get("/api/v1/datasets").await?["data"].is_array());
    let answer =
        Answer::of(reader.request(Method::POST, "/api/v1/datasets").json(&json!({ "name": "refused" }))).await?;
    answer.refused(&[403])?;
    let answer = reader.answer(Method::GET, "/api/v1/audit/entries").await?;
    answer.refused(&[403])?;
    Ok(())
}

/// A revoked session ends at the router and in the cell within seconds, long before its tokens expire.
pub async fn a_revoked_token_is_refused(world: Arc<World>) -> anyhow::Result<()> {
    let member = world.member(&world.acme, &["*"]).await?;
    member.get("/api/v1/me").await?;
    let form = [("token", member.token())];
    let answer = Answer::of(member.http().request(Method::POST, "global", "/oauth2/revoke").form(&form)).await?;
    answer.good()?;
    within(Duration::from_secs(60), "the revocation arrives", || is_refused(&member, "a revoked token")).await?;
    world.acme.get("/api/v1/me").await?;
    Ok(())
}

/// A token ends by itself, on every route and for every call: the global plane is told to make them live a
/// few seconds.
pub async fn an_expired_token_is_refused(world: Arc<World>) -> anyhow::Result<()> {
    let all = routes(&world.acme).await?;
    world.site.restart_global_with("[services.identity]\ntoken_seconds = 8").await?;
    let outcome = async {
        let short = world.acme.with_token(world.acme.fresh_token().await?);
        let global = testkit::token(&world.http, &world.acme.user, None).await?;
        short.get("/api/v1/me").await.context("the token is not good at first")?;
        let who = "an expired token";
        // Clocks may differ by a few seconds, so a token lives a little longer than it says.
        within(Duration::from_secs(60), "the token expires", || is_refused(&short, who)).await?;
        turned_away_everywhere(&world, who, short.token(), &all).await?;
        refused_everything(&world, who, Some(short.token()), Code::Unauthenticated).await?;
        // A good one could delete: nothing is asked before the other door says that it has ended.
        within(Duration::from_secs(60), "the global token expires", || async {
            let request = world.http.request(Method::GET, "global", "/oauth2/userinfo").bearer_auth(&global);
            let answer = Answer::of(request).await?;
            ensure!(answer.status.as_u16() == 401, "userinfo: {} {}", answer.status, answer.excerpt());
            Ok(())
        })
        .await?;
        turned_away_at_the_global_plane(&world, who, Some(&global)).await.map(drop)
    }
    .await;
    world.site.restart_global().await?;
    outcome
}
