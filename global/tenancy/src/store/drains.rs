//! Drains of cells, under way and over.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::draining::{Group, Way};
use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Drain {
    pub id: Uuid,
    pub cell: String,
    pub way: String,
    pub target: Option<String>,
    /// When it began.
    pub tenants: i64,
    pub problem: Option<String>,
    pub started_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    pub cancelled: bool,
}

const COLUMNS: &str = "id, cell, way, target, tenants, problem, started_at, ended_at, cancelled";

impl Drain {
    pub fn way(&self) -> Result<Way, Error> {
        Way::parse(&self.way).ok_or(Error::Broken("a stored way of a drain is unknown"))
    }
}

pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    cell: &str,
    way: Way,
    target: Option<&str>,
    tenants: i64,
    actor: &str,
) -> Result<(), Error> {
    sqlx::query("insert into drains (id, cell, way, target, tenants, actor) values ($1, $2, $3, $4, $5, $6)")
        .bind(id)
        .bind(cell)
        .bind(way.name())
        .bind(target)
        .bind(tenants)
        .bind(actor)
        .execute(db)
        .await
        .map_err(|error| Error::exists(error, "drain"))?;
    Ok(())
}

pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<Drain>, Error> {
    let row = format!("select {COLUMNS} from drains where id = $1");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(row)).bind(id).fetch_optional(db).await?)
}

/// The one of a cell that is not over, locked for the writer's transaction.
pub async fn under_way_of(db: &mut PgConnection, cell: &str) -> Result<Option<Drain>, Error> {
    let row = format!("select {COLUMNS} from drains where cell = $1 and ended_at is null for update");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(row)).bind(cell).fetch_optional(db).await?)
}

/// Those that are not over, oldest first.
pub async fn under_way(db: &mut PgConnection) -> Result<Vec<Drain>, Error> {
    let rows = format!("select {COLUMNS} from drains where ended_at is null order by started_at");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).fetch_all(db).await?)
}

/// Those of a cell, newest first.
pub async fn list(db: &mut PgConnection, cell: &str, before: Option<Uuid>, limit: i64) -> Result<Vec<Drain>, Error> {
    let rows = format!(
        "select {COLUMNS} from drains where cell = $1 and ($2::uuid is null or id < $2) order by id desc limit $3"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).bind(cell).bind(before).bind(limit).fetch_all(db).await?)
}

pub async fn end(db: &mut PgConnection, id: Uuid, cancelled: bool) -> Result<(), Error> {
    sqlx::query("update drains set ended_at = now(), cancelled = $2, problem = null where id = $1")
        .bind(id)
        .bind(cancelled)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn complain(db: &mut PgConnection, id: Uuid, problem: &str) -> Result<(), Error> {
    sqlx::query("update drains set problem = $2 where id = $1 and ended_at is null and problem is distinct from $2")
        .bind(id)
        .bind(problem)
        .execute(db)
        .await?;
    Ok(())
}

/// The tenants of a cell, by what they ask of another one.
pub async fn groups_in(db: &mut PgConnection, cell: &str) -> Result<Vec<Group>, Error> {
    let rows = sqlx::query_as(
        "select organisation, region, apart, count(*) as tenants from tenants where cell = $1
         group by organisation, region, apart order by organisation, region, apart",
    );
    Ok(rows.bind(cell).fetch_all(db).await?)
}

/// A tenant that nobody brings away yet.
#[derive(Debug, sqlx::FromRow)]
pub struct Waiting {
    pub id: String,
    pub organisation: String,
    pub region: Option<String>,
    pub apart: Option<String>,
}

/// Those of the cell, by name.
pub async fn waiting_in(db: &mut PgConnection, cell: &str, limit: i64) -> Result<Vec<Waiting>, Error> {
    let rows = sqlx::query_as(
        "select t.id, t.organisation, t.region, t.apart from tenants t
         where t.cell = $1 and not exists (
           select 1 from moves m where m.tenant = t.id and m.step not in ('done', 'cancelled'))
         order by t.id limit $2",
    );
    Ok(rows.bind(cell).bind(limit).fetch_all(db).await?)
}

/// Moves under way out of the cell or into it.
pub async fn moves_of(db: &mut PgConnection, cell: &str) -> Result<i64, Error> {
    let (count,): (i64,) = sqlx::query_as(
        "select count(*) from moves where step not in ('done', 'cancelled')
           and ((source = $1 and step <> 'clean') or target = $1)",
    )
    .bind(cell)
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Ends the moves that need the cell for what is left of them. Those past their `carry` do not.
pub async fn end_moves_out_of(db: &mut PgConnection, cell: &str, problem: &str) -> Result<(), Error> {
    sqlx::query(
        "update moves set step = 'cancelled', problem = $2, changed_at = now()
         where source = $1 and step in ('copy', 'close', 'fence', 'settle', 'carry', 'back')",
    )
    .bind(cell)
    .bind(problem)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends the moves that lead into the cell. Tenants that were closed for it, and the cells in which they still are.
pub async fn end_moves_into(db: &mut PgConnection, cell: &str, problem: &str) -> Result<Vec<(String, String)>, Error> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "update moves set step = 'cancelled', problem = $2, changed_at = now()
         where target = $1 and step not in ('done', 'cancelled')
         returning tenant, source, generation is not null and opened_at is null",
    )
    .bind(cell)
    .bind(problem)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter(|row| row.2).map(|(tenant, source, _)| (tenant, source)).collect())
}

/// Ends the moves that have nothing left to do but to clean up in a cell that is there no more.
pub async fn end_cleaning_of(db: &mut PgConnection, cell: &str) -> Result<(), Error> {
    sqlx::query("update moves set step = 'done', changed_at = now() where source = $1 and step = 'clean'")
        .bind(cell)
        .execute(db)
        .await?;
    Ok(())
}
