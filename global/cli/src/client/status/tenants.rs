//! A tenant's tables and how far they are behind their streams.

use super::report::{TableReport, TenantReport};
use crate::client::api::Api;
use crate::client::credential::Credential;
use crate::client::global::Tenant;
use crate::client::tenant_api::TenantApi;
use crate::place::Place;

/// A tenant whose streams may not be seen still has a row, with the reason.
pub async fn report(place: &Place, api: &Api, tenant: Tenant) -> TenantReport {
    let streams = match Credential::find(place, api, &tenant.id) {
        Ok(credential) => TenantApi::new(api, credential, &tenant.id).streams().await.map_err(|e| e.to_string()),
        Err(_) => Err("not signed in".to_owned()),
    };
    let (streams, refused) = match streams {
        Ok(streams) => (streams, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let tables = streams.into_iter().map(|stream| TableReport {
        lag_rows: stream.accepted_rows.saturating_sub(stream.committed_rows),
        rows: stream.committed_rows,
        table: stream.table,
    });
    let tables = tables.collect();
    TenantReport { tenant: tenant.id, cell: tenant.cell, generation: tenant.generation, tables, refused }
}
