//! API keys as they are, at HTTP and at Flight SQL: known by their cards, without a call to the global plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Tenant, within};
use tonic::Code;

use crate::flight::refused_everything;
use crate::matrix::turned_away_everywhere;
use crate::openapi::routes;
use crate::tokens::is_refused;
use crate::world::World;

/// A key of the tenant's machine user; answers its id and its secret.
async fn key(world: &World, tenant: &Tenant, beside: Value) -> anyhow::Result<(String, String)> {
    let mut body = json!({ "subject": tenant.user.id, "name": "door" });
    if let (Some(body), Value::Object(beside)) = (body.as_object_mut(), beside) {
        body.extend(beside);
    }
    let made = world.admin.call(Method::POST, "/api/v1/api-keys", Some(body)).await?.good()?;
    let word = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Ok((word("id"), word("secret")))
}

pub async fn an_api_key_is_good_at_both_doors_until_it_is_revoked(world: Arc<World>) -> anyhow::Result<()> {
    let member = world.member(&world.acme, &["*"]).await?;
    let (id, secret) = key(&world, &member, json!({ "tenant": member.id })).await?;
    // At once: the router waits for the card of a key that was made just now.
    let keyed = member.with_token(&secret);
    let me = keyed.get("/api/v1/me").await?;
    ensure!(me["actor"].to_string().contains(&member.user.id), "{me}");
    ensure!(keyed.sql().await?.execute("select 1").await.is_ok(), "Flight SQL does not take the key");
    let wrong: String = secret[..secret.len() - 1].to_owned() + if secret.ends_with('0') { "1" } else { "0" };
    is_refused(&member.with_token(&wrong), "a key with a wrong secret").await?;
    let request = world.neighbour.with_token(&secret).request(Method::GET, "/api/v1/me");
    Answer::of(request).await?.refused(&[403])?;
    world.admin.call(Method::DELETE, &format!("/api/v1/api-keys/{id}"), None).await?.good()?;
    // The cell may hear of it before the router does, and says it in other words.
    within(Duration::from_secs(60), "the key ends at the router", || async {
        let refused = keyed.answer(Method::GET, "/api/v1/me").await?.refused(&[401])?;
        ensure!(refused["code"] == "router/token-invalid", "{refused}");
        is_refused(&keyed, "a revoked key").await
    })
    .await?;
    let all = routes(&world.acme).await?;
    for (who, key) in [("a key with a wrong secret", wrong), ("a revoked key", secret)] {
        turned_away_everywhere(&world, who, key.clone(), &all).await?;
        refused_everything(&world, who, Some(key), Code::Unauthenticated).await?;
    }
    Ok(())
}

pub async fn an_api_key_may_do_what_it_was_made_for(world: Arc<World>) -> anyhow::Result<()> {
    let member = world.member(&world.acme, &["*"]).await?;
    let narrow = json!({ "tenant": member.id, "scopes": ["datasets:read"] });
    let keyed = member.with_token(key(&world, &member, narrow).await?.1);
    keyed.get("/api/v1/datasets").await?;
    keyed.answer(Method::GET, "/api/v1/streams").await?.refused(&[403])?;
    // One that is bound to no tenant is to be exchanged.
    let wide = member.with_token(key(&world, &member, json!({})).await?.1);
    is_refused(&wide, "a key of no tenant").await?;
    // The global plane takes no key for a token.
    let request = world.http.request(Method::GET, "global", "/oauth2/userinfo").bearer_auth(keyed.token());
    Answer::of(request).await?.refused(&[401])?;
    Ok(())
}

/// As an administrator makes one for a script.
pub async fn a_key_that_cyto_makes_is_good_until_cyto_ends_it(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.acme.id.as_str();
    let name = format!("script-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let made = ["key", "create", "--tenant", tenant, "--name", &name, "--scopes", "datasets:read,sql:read"];
    let secret = world.cyto(&made).await?;
    let keyed = world.acme.with_token(secret.trim());
    keyed.get("/api/v1/datasets").await?;
    keyed.answer(Method::GET, "/api/v1/streams").await?.refused(&[403])?;
    let listed = world.cyto(&["key", "list", "--tenant", tenant]).await?;
    ensure!(!listed.contains(secret.trim()), "the list shows a key");
    let row = listed.lines().find(|line| line.contains(&name)).unwrap_or_default();
    let id = row.split_whitespace().find(|word| word.parse::<uuid::Uuid>().is_ok()).unwrap_or_default();
    world.cyto(&["key", "revoke", id]).await?;
    within(Duration::from_secs(60), "the key ends", || is_refused(&keyed, "a revoked key")).await
}

/// Routers and cells go on with the cards they have.
pub async fn an_api_key_needs_no_global_plane(world: Arc<World>) -> anyhow::Result<()> {
    let member = world.member(&world.acme, &["*"]).await?;
    let (_, secret) = key(&world, &member, json!({ "tenant": member.id })).await?;
    let keyed = member.with_token(secret);
    keyed.get("/api/v1/me").await?;
    world.site.stop_global().await?;
    let outcome = async {
        keyed.get("/api/v1/me").await?;
        let rows = keyed.sql().await?.execute("select 1").await?;
        drop(rows);
        Ok(())
    }
    .await;
    world.site.start_global().await?;
    outcome
}
