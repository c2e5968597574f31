//! Another tenant's ids, on every route there is: a foreign thing is answered exactly as a thing
//! that does not exist.

use std::sync::Arc;

use anyhow::ensure;
use reqwest::StatusCode;
use testkit::{Answer, Tenant};
use uuid::Uuid;

use crate::openapi::{Route, code, routes};
use crate::rows;
use crate::world::{Secrets, World};

/// A foreign value of a parameter: known to be real, to somebody else.
pub fn foreign(secrets: &Secrets, parameter: &str) -> Option<String> {
    Some(match parameter {
        "dataset" | "dataset_id" => secrets.dataset.clone(),
        "tx" | "transaction" | "transaction_id" => secrets.transaction.clone(),
        "stream" | "stream_id" | "sink" | "id" => secrets.stream.clone(),
        "prefix" | "tenant" => secrets.tenant.clone(),
        other => return neutral(other),
    })
}

/// A value of the same form that belongs to nobody.
pub fn absent(parameter: &str) -> Option<String> {
    Some(match parameter {
        "dataset" | "dataset_id" | "tx" | "transaction" | "transaction_id" | "stream" | "stream_id" | "sink" | "id" => {
            Uuid::now_v7().to_string()
        }
        "prefix" | "tenant" => "nobody-here".to_owned(),
        other => return neutral(other),
    })
}

/// Parameters that name nothing of a tenant by themselves.
fn neutral(parameter: &str) -> Option<String> {
    Some(
        match parameter {
            "namespace" => "datasets",
            "table" => "secrets",
            "view" => "secrets",
            "path" | "file" => "part.csv",
            "version" => "1",
            "plan_id" | "plan-id" | "plan" => "1",
            _ => return None,
        }
        .to_owned(),
    )
}

/// Sends a body that is well formed, so that the answer is about the id.
pub async fn ask(tenant: &Tenant, route: &Route, path: &str) -> anyhow::Result<Answer> {
    let mut request = tenant.request(route.method.clone(), path);
    if let Some(kind) = route.bodies.first() {
        request = request.header("content-type", kind).body(if route.takes_json() { "{}" } else { "" });
    }
    Answer::of(request).await
}

pub async fn a_foreign_id_is_like_an_absent_one(world: Arc<World>) -> anyhow::Result<()> {
    let mut checked = 0;
    for route in routes(&world.acme).await? {
        let owned = route.parameters().into_iter().any(|p| neutral(p).is_none());
        if !owned {
            continue;
        }
        let nowhere = ask(&world.acme, &route, &route.path(absent)?).await?;
        ensure!(!nowhere.status.is_success(), "{}: an absent id was answered {}", route.label(), nowhere.status);
        for secrets in &world.secrets {
            let answer = ask(&world.acme, &route, &route.path(|p| foreign(secrets, p))?).await?;
            let told = (answer.status, code(&answer.json().unwrap_or_default()));
            let expected = (nowhere.status, code(&nowhere.json().unwrap_or_default()));
            ensure!(told == expected, "{}: foreign {told:?}, absent {expected:?}", route.label());
            ensure!(answer.status != StatusCode::FORBIDDEN, "{}: 403 tells that it exists", route.label());
            ensure!(!answer.text.contains("secrets"), "{}: {}", route.label(), answer.excerpt());
            checked += 1;
        }
    }
    ensure!(checked >= 20, "only {checked} calls were made");
    for tenant in [&world.neighbour, &world.globex] {
        ensure!(rows::count(tenant, "datasets.secrets").await? == 10, "{} lost rows", tenant.id);
    }
    Ok(())
}

/// The catalog's warehouse is the tenant: nobody configures himself into another one.
pub async fn a_foreign_warehouse_is_refused(world: Arc<World>) -> anyhow::Result<()> {
    for secrets in &world.secrets {
        let path = format!("/iceberg/v1/config?warehouse={}", secrets.tenant);
        let answer = world.acme.answer(reqwest::Method::GET, &path).await?;
        ensure!([403, 404].contains(&answer.status.as_u16()), "{path}: {} {}", answer.status, answer.excerpt());
    }
    Ok(())
}

/// Lists show the caller's own things and nothing else.
pub async fn lists_show_only_ones_own(world: Arc<World>) -> anyhow::Result<()> {
    let mut shown = 0;
    for route in routes(&world.acme).await? {
        if route.method != reqwest::Method::GET || !route.parameters().is_empty() {
            continue;
        }
        let answer = ask(&world.acme, &route, &route.template).await?;
        ensure!(!answer.status.is_server_error(), "{}: {} {}", route.label(), answer.status, answer.excerpt());
        shown += usize::from(answer.status.is_success());
        for secrets in &world.secrets {
            let told = [&secrets.dataset, &secrets.stream, &secrets.transaction]
                .into_iter()
                .find(|id| answer.text.contains(*id));
            ensure!(told.is_none(), "{} shows {told:?} of {}", route.label(), secrets.tenant);
        }
    }
    // Some want a parameter; most answer as they are.
    ensure!(shown >= 6, "only {shown} lists were shown");
    Ok(())
}
