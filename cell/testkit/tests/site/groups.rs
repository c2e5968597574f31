//! Routers in groups, each of which serves some of the tenants.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use testkit::{Answer, Http, Tenant, within};

use crate::second::Second;
use crate::world::World;

const GROUPS: [&str; 3] = ["east", "north", "west"];
const PATIENCE: Duration = Duration::from_secs(60);

/// The groups that serve a tenant, as the platform says.
async fn of(world: &World, tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/tenants/{}/router-groups", tenant.id);
    let page = world.admin.call(Method::GET, &path, None).await?.good()?;
    let groups = page["data"].as_array().context("no list")?;
    groups.iter().map(|group| group["id"].as_str().map(str::to_owned).context("no id")).collect()
}

async fn ask(http: &Http, tenant: &Tenant) -> anyhow::Result<Answer> {
    Answer::of(http.request(Method::GET, &tenant.id, "/api/v1/me").bearer_auth(tenant.token())).await
}

async fn is_served(http: &Http, tenant: &Tenant, serves: bool) -> anyhow::Result<()> {
    within(PATIENCE, "the router has heard of it", || async {
        let answer = ask(http, tenant).await?;
        if serves {
            ensure!(answer.good()?["tenant"] == tenant.id.as_str());
        } else {
            ensure!(answer.refused(&[421])?["code"] == "router/other-group");
        }
        Ok(())
    })
    .await
}

/// A router serves the tenants of its group and no others; one without a group serves all.
pub async fn a_router_serves_the_tenants_of_its_group(world: Arc<World>) -> anyhow::Result<()> {
    for group in GROUPS {
        world.cyto(&["router-group", "set", group, "127.0.0.1"]).await?;
    }
    let tenants = [&world.acme, &world.neighbour, &world.globex];
    let mut own = Vec::new();
    for tenant in tenants {
        let groups = of(&world, tenant).await?;
        ensure!(groups.len() == 2, "{groups:?}");
        own.push(groups);
    }
    // The one group of three that does not serve the first of them.
    let other = GROUPS.into_iter().find(|group| !own[0].iter().any(|own| own == group)).context("it has all")?;
    let second = Second::start(&world, &format!("group = \"{other}\"")).await?;
    for (tenant, groups) in tenants.into_iter().zip(&own) {
        is_served(&second.http, tenant, groups.iter().any(|group| group == other)).await?;
        is_served(&world.http, tenant, true).await?;
    }
    // A group goes, and the others take its tenants over.
    world.cyto(&["router-group", "remove", &own[0][0]]).await?;
    for tenant in tenants {
        is_served(&second.http, tenant, true).await?;
    }
    for group in GROUPS.into_iter().filter(|group| *group != own[0][0]) {
        world.cyto(&["router-group", "remove", group]).await?;
    }
    is_served(&second.http, tenants[0], true).await
}
