//! Every route × whose id × who asks. What a route needs is read from its OpenAPI document, so a new
//! route is in here by itself, and one whose parameters nobody knows here is a red test.

use std::sync::Arc;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::Value;
use testkit::Answer;

use crate::openapi::{Route, code, method, routes};
use crate::strangers::{absent, ask, foreign};
use crate::world::World;

/// Operations of the global plane that ask for no token: they are how one gets one.
const PUBLIC: &[&str] = &[
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
    "GET /api/v1/contracts",
    "GET /device",
    "POST /device",
    "POST /api/v1/sessions",
    "POST /oauth2/device_authorization",
    "POST /oauth2/revoke",
    "POST /oauth2/token",
];

/// What every member of a tenant may ask.
const OF_EVERYBODY: &[&str] = &["GET /openapi.json", "GET /api/v1/me"];

/// What a principal without any right to a route may be told.
fn turned_away(answer: &Answer, who: &str, route: &Route) -> anyhow::Result<()> {
    let told = format!("{} for {who}: {} {}", route.label(), answer.status, answer.excerpt());
    ensure!([401, 403].contains(&answer.status.as_u16()), "{told}");
    ensure!(!answer.text.contains("secrets") && !answer.text.contains("hidden"), "{told}");
    Ok(())
}

/// Nobody without a token of the tenant gets past the door of any route, whosever id it names, and the
/// answer does not depend on the id.
pub async fn no_route_opens_without_a_token_of_the_tenant(world: Arc<World>) -> anyhow::Result<()> {
    let all = routes(&world.acme).await?;
    let mut tampered = world.acme.token();
    tampered.replace_range(tampered.len() - 6.., "AAAAAA");
    for (who, token) in [
        ("nobody", String::new()),
        ("a token that is none", "nonsense".to_owned()),
        ("a token with another signature", tampered),
        ("another tenant of the cell", world.neighbour.token()),
        ("a tenant of another cell", world.globex.token()),
        ("the administrator of the global plane", world.admin.token()),
    ] {
        turned_away_everywhere(&world, who, token, &all).await?;
    }
    ensure!(all.len() >= 50, "only {} routes", all.len());
    Ok(())
}

/// No route of a cell lets the bearer in, and none tells it by its answer what acme has.
pub async fn turned_away_everywhere(world: &World, who: &str, token: String, all: &[Route]) -> anyhow::Result<()> {
    let visitor = world.acme.with_token(token);
    for route in all {
        let nowhere = ask(&visitor, route, &route.path(absent)?).await?;
        turned_away(&nowhere, who, route)?;
        let own = ask(&visitor, route, &route.path(|p| own(world, p))?).await?;
        turned_away(&own, who, route)?;
        let same = (own.status, code(&own.json().unwrap_or_default()));
        let like = (nowhere.status, code(&nowhere.json().unwrap_or_default()));
        ensure!(same == like, "{} for {who}: {same:?} for an id that is, {like:?} for one that is not", route.label());
    }
    Ok(())
}

/// No operation of the global plane but the public ones lets the bearer in.
pub async fn turned_away_at_the_global_plane(world: &World, who: &str, token: Option<&str>) -> anyhow::Result<usize> {
    let mut asked = 0;
    for route in global_routes()?.iter().filter(|route| !PUBLIC.contains(&route.label().as_str())) {
        let path = route.path(|p| of_acme(world, p))?;
        turned_away(&ask_global(world, token, route, &path).await?, who, route)?;
        asked += 1;
    }
    Ok(asked)
}

/// acme's own things.
fn own(world: &World, parameter: &str) -> Option<String> {
    match parameter {
        "prefix" | "tenant" => Some(world.acme.id.clone()),
        "dataset" | "dataset_id" => Some("orders".to_owned()),
        "table" => Some("orders".to_owned()),
        other => absent(other),
    }
}

/// A member of the tenant who holds another scope than the one a route needs: refused, for its own ids as
/// for another tenant's.
pub async fn no_route_opens_without_its_scope(world: Arc<World>) -> anyhow::Result<()> {
    let (lineage, sql) =
        (world.member(&world.acme, &["lineage:read"]).await?, world.member(&world.acme, &["sql:read"]).await?);
    let mut needing = 0;
    for route in &routes(&world.acme).await? {
        let Some(scope) = &route.scope else {
            ensure!(
                OF_EVERYBODY.contains(&route.label().as_str()),
                "{} does not say which scope it needs",
                route.label()
            );
            continue;
        };
        let bare = if scope == "lineage:read" { &sql } else { &lineage };
        let mine = route.path(|p| own(&world, p))?;
        for path in [mine.clone(), route.path(absent)?, route.path(|p| foreign(&world.secrets[0], p))?] {
            let answer = ask(bare, route, &path).await?;
            let told = format!("{} without a scope: {} {}", route.label(), answer.status, answer.excerpt());
            // What is malformed may be refused before anybody asks for a scope, and what is not there, too.
            let refusals: &[u16] = match (route.bodies.is_empty(), path == mine) {
                (true, true) => &[403, 422],
                _ => &[400, 403, 404, 422],
            };
            ensure!(refusals.contains(&answer.status.as_u16()), "{told}");
            ensure!(!answer.text.contains("secrets"), "{told}");
        }
        needing += 1;
    }
    ensure!(needing >= 48, "only {needing} routes say which scope they need");
    Ok(())
}

fn global_routes() -> anyhow::Result<Vec<Route>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/global.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut routes = Vec::new();
    for (template, item) in document["paths"].as_object().context("no paths")? {
        for (name, operation) in item.as_object().into_iter().flatten() {
            let Some(method) = method(name) else { continue };
            let bodies = operation["requestBody"]["content"].as_object().map(|c| c.keys().cloned().collect());
            routes.push(Route { method, template: template.clone(), bodies: bodies.unwrap_or_default(), scope: None });
        }
    }
    Ok(routes)
}

async fn ask_global(world: &World, token: Option<&str>, route: &Route, path: &str) -> anyhow::Result<Answer> {
    let mut request = world.http.request(route.method.clone(), "global", path);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(kind) = route.bodies.first() {
        request = request.header("content-type", kind).body(if route.takes_json() { "{}" } else { "" });
    }
    Answer::of(request).await
}

/// Things of acme's at the global plane.
fn of_acme(world: &World, parameter: &str) -> Option<String> {
    Some(match parameter {
        "organisation" => world.acme.organisation.clone(),
        "tenant" => world.acme.id.clone(),
        "cell" => world.acme.cell.clone(),
        "id" | "subject" => world.acme.user.id.clone(),
        "sid" => uuid::Uuid::now_v7().to_string(),
        "host" => "data.example.org".to_owned(),
        "tier" => "standard".to_owned(),
        "group" => "east-1".to_owned(),
        _ => return None,
    })
}

/// The global plane: no operation but the public ones works without a token of its own, and an ordinary
/// account of another organisation reaches nothing of acme's.
pub async fn no_stranger_reaches_anything_at_the_global_plane(world: Arc<World>) -> anyhow::Result<()> {
    let stranger = testkit::token(&world.http, &world.neighbour.user, None).await?;
    let mut asked = 0;
    let cell_token = world.acme.token();
    for (who, token) in
        [("nobody", None), ("nonsense", Some("nonsense")), ("a cell's token", Some(cell_token.as_str()))]
    {
        asked += turned_away_at_the_global_plane(&world, who, token).await?;
    }
    for route in global_routes()? {
        if PUBLIC.contains(&route.label().as_str()) {
            continue;
        }
        let path = route.path(|p| of_acme(&world, p))?;
        let answer = ask_global(&world, Some(&stranger), &route, &path).await?;
        let told = format!("{} for a stranger: {} {}", route.label(), answer.status, answer.excerpt());
        ensure!(!answer.status.is_server_error(), "{told}");
        for known in [&world.acme.id, &world.acme.user.id, &world.acme.organisation] {
            // What one asked for may stand in a refusal.
            ensure!(!answer.status.is_success() || !answer.text.contains(known.as_str()), "{told}");
        }
        ensure!(route.parameters().is_empty() || !answer.status.is_success(), "{told}");
        asked += 1;
    }
    ensure!(asked >= 120, "only {asked} calls were made");
    for id in ["/api/v1/tenants", "/api/v1/organisations"] {
        let path = format!("{id}/{}", if id.ends_with("tenants") { &world.acme.id } else { &world.acme.organisation });
        let request = world.http.request(Method::GET, "global", &path).bearer_auth(world.admin.token());
        Answer::of(request).await?.good().context("something of acme's is gone")?;
    }
    Ok(())
}
