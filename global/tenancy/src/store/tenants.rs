//! Tenants, their hosts and their placements.

use contracts::TierId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Tenant {
    pub id: String,
    pub organisation: String,
    pub state: String,
    pub cell: Option<String>,
    pub generation: i64,
    /// `None` is the standard tier.
    pub tier: Option<String>,
    /// Where its cell must be; `None` is anywhere.
    pub region: Option<String>,
    /// No other tenant of its organisation with the same word is in its cell.
    pub apart: Option<String>,
    pub created_at: OffsetDateTime,
    /// The tenant's own host first.
    pub hosts: Vec<String>,
}

/// Locked for the writer's transaction; removed tenants too, because their ids stay taken.
pub async fn lock(db: &mut PgConnection, id: &str) -> Result<Option<Tenant>, Error> {
    let row = sqlx::query_as(
        "select t.id, t.organisation, t.state, t.cell, t.generation, t.tier, t.region, t.apart, t.created_at,
                array(select h.host from hosts h where h.tenant = t.id order by h.own desc, h.host) as hosts
         from tenants t where t.id = $1 for update",
    );
    Ok(row.bind(id).fetch_optional(db).await?)
}

/// Active tenants after `after`, of one organisation or of all.
pub async fn list(
    db: &mut PgConnection,
    horizon: Option<&str>,
    organisation: Option<&str>,
    only: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Tenant>, Error> {
    let rows = sqlx::query_as(
        "select t.id, t.organisation, t.state, t.cell, t.generation, t.tier, t.region, t.apart, t.created_at,
                array(select h.host from hosts h where h.tenant = t.id order by h.own desc, h.host) as hosts
         from tenants t
         where t.state = 'active' and ($1::text is null or t.organisation = $1)
           and ($2::text is null or t.organisation = $2) and ($3::text is null or t.id = $3)
           and ($4::text is null or t.id > $4)
         order by t.id limit $5",
    );
    Ok(rows.bind(horizon).bind(organisation).bind(only).bind(after).bind(limit).fetch_all(db).await?)
}

/// The organisation of an active tenant.
pub async fn organisation_of(db: &mut PgConnection, id: &str) -> Result<Option<String>, Error> {
    let row: Option<(String,)> = sqlx::query_as("select organisation from tenants where id = $1 and state = 'active'")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(organisation,)| organisation))
}

/// A tenant that is born.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    pub id: &'a str,
    pub organisation: &'a str,
    pub cell: &'a str,
    pub generation: i64,
    pub tier: Option<&'a TierId>,
    pub region: Option<&'a str>,
    pub apart: Option<&'a str>,
}

pub async fn insert(db: &mut PgConnection, new: New<'_>) -> Result<(), Error> {
    sqlx::query(
        "insert into tenants (id, organisation, cell, generation, tier, region, apart)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id)
    .bind(new.organisation)
    .bind(new.cell)
    .bind(new.generation)
    .bind(new.tier.map(TierId::as_str))
    .bind(new.region)
    .bind(new.apart)
    .execute(db)
    .await
    .map_err(|error| Error::exists(error, "tenant"))?;
    Ok(())
}

/// `None` is the standard tier.
pub async fn set_tier(db: &mut PgConnection, id: &str, tier: Option<&TierId>) -> Result<(), Error> {
    sqlx::query("update tenants set tier = $2 where id = $1")
        .bind(id)
        .bind(tier.map(TierId::as_str))
        .execute(db)
        .await?;
    Ok(())
}

pub async fn set_generation(db: &mut PgConnection, id: &str, cell: &str, generation: i64) -> Result<(), Error> {
    sqlx::query("update tenants set cell = $2, generation = $3, leaving = null where id = $1 and generation < $3")
        .bind(id)
        .bind(cell)
        .bind(generation)
        .execute(db)
        .await?;
    Ok(())
}

/// Its cell lets nothing of it in any more; it is entered again at `generation`.
pub async fn set_leaving(db: &mut PgConnection, id: &str, generation: i64) -> Result<(), Error> {
    sqlx::query("update tenants set leaving = $2 where id = $1").bind(id).bind(generation).execute(db).await?;
    Ok(())
}

/// Places each tenant in the cell of the same index, at generations that follow one another from `first` on.
pub async fn place_all(db: &mut PgConnection, ids: &[String], cells: &[String], first: i64) -> Result<(), Error> {
    sqlx::query(
        "with placed as (
           update tenants t set cell = p.cell, generation = $3 + p.number - 1, leaving = null
           from unnest($1::text[], $2::text[]) with ordinality p (id, cell, number) where t.id = p.id
           returning t.generation, t.id, t.cell)
         insert into placements (generation, tenant, cell) select generation, id, cell from placed",
    )
    .bind(ids)
    .bind(cells)
    .bind(first)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn record_placement(db: &mut PgConnection, id: &str, cell: &str, generation: i64) -> Result<(), Error> {
    sqlx::query("insert into placements (generation, tenant, cell) values ($1, $2, $3)")
        .bind(generation)
        .bind(id)
        .bind(cell)
        .execute(db)
        .await?;
    Ok(())
}

/// Newest first.
pub async fn placements(
    db: &mut PgConnection,
    id: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, String, OffsetDateTime)>, Error> {
    let rows = sqlx::query_as(
        "select generation, cell, placed_at from placements where tenant = $1 and ($2::bigint is null or generation < $2)
         order by generation desc limit $3",
    );
    Ok(rows.bind(id).bind(before).bind(limit).fetch_all(db).await?)
}

pub async fn remove(db: &mut PgConnection, id: &str) -> Result<(), Error> {
    sqlx::query("delete from hosts where tenant = $1").bind(id).execute(&mut *db).await?;
    sqlx::query("update tenants set state = 'removed', cell = null, tier = null where id = $1")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// `own`: the host the tenant is born with.
pub async fn add_host(db: &mut PgConnection, id: &str, host: &str, own: bool) -> Result<(), Error> {
    sqlx::query("insert into hosts (host, tenant, own) values ($1, $2, $3)")
        .bind(host)
        .bind(id)
        .bind(own)
        .execute(db)
        .await
        .map_err(|error| Error::exists(error, "host"))?;
    Ok(())
}

pub async fn remove_host(db: &mut PgConnection, id: &str, host: &str) -> Result<(), Error> {
    sqlx::query("delete from hosts where host = $1 and tenant = $2 and not own")
        .bind(host)
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}
