//! Moves, under way and over.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::moving::Step;
use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Move {
    pub id: Uuid,
    pub tenant: String,
    pub source: String,
    pub target: String,
    pub step: String,
    pub generation: Option<i64>,
    pub problem: Option<String>,
    pub started_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    pub closed_at: Option<OffsetDateTime>,
    pub opened_at: Option<OffsetDateTime>,
}

const COLUMNS: &str =
    "id, tenant, source, target, step, generation, problem, started_at, changed_at, closed_at, opened_at";

impl Move {
    pub fn step(&self) -> Result<Step, Error> {
        self.step.parse().map_err(|()| Error::Broken("a stored step of a move is unknown"))
    }
}

pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    tenant: &str,
    source: &str,
    target: &str,
    actor: &str,
) -> Result<(), Error> {
    sqlx::query("insert into moves (id, tenant, source, target, step, actor) values ($1, $2, $3, $4, 'copy', $5)")
        .bind(id)
        .bind(tenant)
        .bind(source)
        .bind(target)
        .bind(actor)
        .execute(db)
        .await
        .map_err(|error| Error::exists(error, "move"))?;
    Ok(())
}

/// Locked for the writer's transaction.
pub async fn lock(db: &mut PgConnection, id: Uuid) -> Result<Option<Move>, Error> {
    let row = format!("select {COLUMNS} from moves where id = $1 for update");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(row)).bind(id).fetch_optional(db).await?)
}

/// Those of a tenant, newest first.
pub async fn list(db: &mut PgConnection, tenant: &str, before: Option<Uuid>, limit: i64) -> Result<Vec<Move>, Error> {
    let rows = format!(
        "select {COLUMNS} from moves where tenant = $1 and ($2::uuid is null or id < $2) order by id desc limit $3"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).bind(tenant).bind(before).bind(limit).fetch_all(db).await?)
}

/// Those that are not over, oldest first.
pub async fn under_way(db: &mut PgConnection) -> Result<Vec<Move>, Error> {
    let rows = format!("select {COLUMNS} from moves where step not in ('done', 'cancelled') order by started_at");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(rows)).fetch_all(db).await?)
}

pub async fn under_way_of(db: &mut PgConnection, tenant: &str) -> Result<Option<Move>, Error> {
    let row = format!("select {COLUMNS} from moves where tenant = $1 and step not in ('done', 'cancelled') for update");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(row)).bind(tenant).fetch_optional(db).await?)
}

pub async fn advance(db: &mut PgConnection, id: Uuid, step: Step) -> Result<(), Error> {
    sqlx::query("update moves set step = $2, problem = null, changed_at = now() where id = $1")
        .bind(id)
        .bind(step.name())
        .execute(db)
        .await?;
    Ok(())
}

pub async fn close(db: &mut PgConnection, id: Uuid, generation: i64) -> Result<(), Error> {
    sqlx::query("update moves set generation = $2, closed_at = now() where id = $1")
        .bind(id)
        .bind(generation)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn open(db: &mut PgConnection, id: Uuid) -> Result<(), Error> {
    sqlx::query("update moves set opened_at = now() where id = $1").bind(id).execute(db).await?;
    Ok(())
}

pub async fn complain(db: &mut PgConnection, id: Uuid, problem: &str) -> Result<(), Error> {
    sqlx::query("update moves set problem = $2, changed_at = now() where id = $1")
        .bind(id)
        .bind(problem)
        .execute(db)
        .await?;
    Ok(())
}
