//! `cyto status`: cells, placements, contracts, and how far the tables are behind the streams.

use std::process::ExitCode;

use super::api::Api;
use super::cell;
use super::credential::Credential;
use super::global::{Global, Tenant};
use super::site::Site;
use super::table::{grouped, render};
use super::tenant_api::{Stream, TenantApi};
use crate::place::Place;

pub async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    println!("{}", cell::table(global.cells().await?));
    let mut rows = Vec::new();
    for tenant in global.tenants().await? {
        rows.extend(tenant_rows(place, &api, &tenant).await);
    }
    println!("{}", render(&["tenant", "cell", "generation", "table", "rows", "lag"], rows, &[2, 4, 5]));
    Ok(ExitCode::SUCCESS)
}

/// One row per stream; a tenant whose streams may not be seen still has a row, with the reason.
async fn tenant_rows(place: &Place, api: &Api, tenant: &Tenant) -> Vec<Vec<String>> {
    let row = |table: String, rows: String, lag: String| {
        vec![tenant.id.clone(), tenant.cell.clone(), tenant.generation.to_string(), table, rows, lag]
    };
    let streams = match Credential::find(place, api, &tenant.id) {
        Ok(credential) => TenantApi::new(api, credential, &tenant.id).streams().await.map_err(|e| e.to_string()),
        Err(_) => Err("not signed in".to_owned()),
    };
    match streams {
        Err(reason) => vec![row(reason, "-".to_owned(), "-".to_owned())],
        Ok(streams) if streams.is_empty() => vec![row("no streams".to_owned(), "-".to_owned(), "-".to_owned())],
        Ok(streams) => {
            let lag = |s: &Stream| grouped(s.accepted_rows.saturating_sub(s.committed_rows));
            streams.into_iter().map(|s| row(s.table.clone(), grouped(s.committed_rows), lag(&s))).collect()
        }
    }
}
