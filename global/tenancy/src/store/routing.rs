//! The routing log and the table it leads to.

use contracts::routing::{CellEndpoint, Change, Route};
use contracts::{CellId, Generation, TenantId, TierId};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::error::Error;
use crate::store::writer;

/// Wakes the feed.
pub const CHANNEL: &str = "tenancy_routing";

/// Appends one change under the writer's lock and wakes the feed at commit. `cells` are those in which its
/// tenant lives or lived.
pub async fn append(db: &mut PgConnection, change: &Change, cells: &[String], actor: &str) -> Result<u64, Error> {
    append_all(db, &[(change.clone(), cells.to_vec())], actor).await
}

/// The same with several changes, in their order; the version of the last one.
pub async fn append_all(db: &mut PgConnection, changes: &[(Change, Vec<String>)], actor: &str) -> Result<u64, Error> {
    let removed = changes.iter().filter(|(change, _)| matches!(change, Change::TenantRemoved { .. })).count();
    let last = writer::next_versions(db, changes.len(), removed).await?;
    let (changes, cells): (Vec<_>, Vec<_>) = changes.iter().map(|(change, cells)| (Json(change), Json(cells))).unzip();
    sqlx::query(
        "insert into routing_log (version, change, cells, actor)
         select $1 + c.number, c.change, array(select jsonb_array_elements_text(c.cells)), $4
         from unnest($2::jsonb[], $3::jsonb[]) with ordinality c (change, cells, number)",
    )
    .bind(last - changes.len() as i64)
    .bind(changes)
    .bind(cells)
    .bind(actor)
    .execute(&mut *db)
    .await?;
    sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(last.to_string()).execute(db).await?;
    Ok(last.unsigned_abs())
}

pub async fn head(db: &mut PgConnection) -> Result<u64, Error> {
    let (version,): (i64,) = sqlx::query_as("select version from writer").fetch_one(db).await?;
    Ok(version.unsigned_abs())
}

pub async fn after(db: &mut PgConnection, version: u64, limit: i64) -> Result<Vec<(u64, Change)>, Error> {
    let rows: Vec<(i64, Json<Change>)> =
        sqlx::query_as("select version, change from routing_log where version > $1 order by version limit $2")
            .bind(i64::try_from(version).unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(version, Json(change))| (version.unsigned_abs(), change)).collect())
}

/// The same, without the changes that do not concern the cell.
pub async fn after_for(
    db: &mut PgConnection,
    cell: &CellId,
    version: u64,
    limit: i64,
) -> Result<Vec<(u64, Option<Change>)>, Error> {
    let rows: Vec<(i64, Option<Json<Change>>)> = sqlx::query_as(
        "select version, case when cells is null or $2 = any(cells) then change end
         from routing_log where version > $1 order by version limit $3",
    )
    .bind(i64::try_from(version).unwrap_or(i64::MAX))
    .bind(cell.as_str())
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(version, change)| (version.unsigned_abs(), change.map(|Json(change)| change))).collect())
}

/// A tenant, its generation, and the one at which it is entered again if it is leaving.
pub type Listed = (TenantId, Generation, Option<Generation>);

/// Tenants of a cell after `after`, by name.
pub async fn tenants_of(db: &mut PgConnection, cell: &CellId, after: &str, limit: i64) -> Result<Vec<Listed>, Error> {
    let rows: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
        "select id, generation, leaving from tenants where cell = $1 and state = 'active' and id > $2 order by id limit $3",
    )
    .bind(cell.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let named = |(id, generation, leaving): (String, i64, Option<i64>)| {
        let tenant = TenantId::new(id).map_err(ill_formed)?;
        let leaving = leaving.map(|generation| Generation(generation.unsigned_abs()));
        Ok((tenant, Generation(generation.unsigned_abs()), leaving))
    };
    rows.into_iter().map(named).collect()
}

/// Tenant, cell, generation, tier, hosts.
type Placed = (String, String, i64, Option<String>, Vec<String>);

/// Has the transaction see one moment of the database, and says which version of the log that is, and how many tenants
/// were removed up to then.
pub async fn hold_still(db: &mut PgConnection) -> Result<(u64, u64), Error> {
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *db).await?;
    let (version, removed): (i64, i64) = sqlx::query_as("select version, removed from writer").fetch_one(db).await?;
    Ok((version.unsigned_abs(), removed.unsigned_abs()))
}

pub async fn cells(db: &mut PgConnection) -> Result<Vec<CellEndpoint>, Error> {
    let rows: Vec<(String, String, String, Option<String>)> =
        sqlx::query_as("select id, http, flight, door from cells where state <> 'retired' order by id")
            .fetch_all(db)
            .await?;
    let endpoint =
        |(id, http, flight, door)| Ok(CellEndpoint { cell: CellId::new(id).map_err(ill_formed)?, http, flight, door });
    rows.into_iter().map(endpoint).collect()
}

/// Routes of the tenants after `after`, by name.
pub async fn routes(db: &mut PgConnection, after: &str, limit: i64) -> Result<Vec<Route>, Error> {
    let rows = sqlx::query_as(
        "select t.id, t.cell, t.generation, t.tier,
                array(select h.host from hosts h where h.tenant = t.id order by h.own desc, h.host)
         from tenants t where t.state = 'active' and t.id > $1 order by t.id limit $2",
    );
    as_routes(rows.bind(after).bind(limit).fetch_all(db).await?)
}

/// Routes of these tenants, in the order of their generations.
pub async fn routes_of(db: &mut PgConnection, ids: &[String]) -> Result<Vec<Route>, Error> {
    let rows = sqlx::query_as(
        "select t.id, t.cell, t.generation, t.tier,
                array(select h.host from hosts h where h.tenant = t.id order by h.own desc, h.host)
         from tenants t where t.id = any($1) order by t.generation",
    );
    as_routes(rows.bind(ids).fetch_all(db).await?)
}

fn as_routes(rows: Vec<Placed>) -> Result<Vec<Route>, Error> {
    let route = |(id, cell, generation, tier, hosts): Placed| {
        Ok(Route {
            tenant: TenantId::new(id).map_err(ill_formed)?,
            cell: CellId::new(cell).map_err(ill_formed)?,
            generation: Generation(generation.unsigned_abs()),
            hosts,
            tier: tier.map(TierId::new).transpose().map_err(ill_formed)?.unwrap_or_default(),
        })
    };
    rows.into_iter().map(route).collect()
}

pub fn ill_formed(_: contracts::ids::IdError) -> Error {
    Error::Broken("a stored name is not well formed")
}
