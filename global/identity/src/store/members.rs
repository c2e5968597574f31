//! Memberships: which subject may act in which tenant, and how far.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Member {
    pub tenant: String,
    pub subject: Uuid,
    pub kind: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: OffsetDateTime,
}

/// The scopes held before, if the subject was a member.
pub async fn upsert(
    db: &mut PgConnection,
    tenant: &str,
    subject: Uuid,
    organisation: &str,
    scopes: &[String],
) -> Result<Option<Vec<String>>, Error> {
    let before: Option<(Vec<String>,)> =
        sqlx::query_as("select scopes from memberships where tenant = $1 and subject = $2 for update")
            .bind(tenant)
            .bind(subject)
            .fetch_optional(&mut *db)
            .await?;
    sqlx::query(
        "insert into memberships (tenant, subject, organisation, scopes) values ($1, $2, $3, $4)
         on conflict (tenant, subject) do update set scopes = excluded.scopes, organisation = excluded.organisation",
    )
    .bind(tenant)
    .bind(subject)
    .bind(organisation)
    .bind(scopes)
    .execute(db)
    .await?;
    Ok(before.map(|(scopes,)| scopes))
}

pub async fn find(db: &mut PgConnection, tenant: &str, subject: Uuid) -> Result<Option<Member>, Error> {
    let row = sqlx::query_as(
        "select m.tenant, m.subject, s.kind, s.name, m.scopes, m.created_at
         from memberships m join subjects s on s.id = m.subject where m.tenant = $1 and m.subject = $2",
    );
    Ok(row.bind(tenant).bind(subject).fetch_optional(db).await?)
}

/// The scopes of a member, held as they are to the end of the transaction; see `subjects::hold`.
pub async fn hold(db: &mut PgConnection, tenant: &str, subject: Uuid) -> Result<Option<Vec<String>>, Error> {
    let row: Option<(Vec<String>,)> =
        sqlx::query_as("select scopes from memberships where tenant = $1 and subject = $2 for share")
            .bind(tenant)
            .bind(subject)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(scopes,)| scopes))
}

pub async fn list(db: &mut PgConnection, tenant: &str, after: Option<Uuid>, limit: i64) -> Result<Vec<Member>, Error> {
    let rows = sqlx::query_as(
        "select m.tenant, m.subject, s.kind, s.name, m.scopes, m.created_at
         from memberships m join subjects s on s.id = m.subject
         where m.tenant = $1 and ($2::uuid is null or m.subject > $2) order by m.subject limit $3",
    );
    Ok(rows.bind(tenant).bind(after).bind(limit).fetch_all(db).await?)
}

pub async fn delete(db: &mut PgConnection, tenant: &str, subject: Uuid) -> Result<bool, Error> {
    let done = sqlx::query("delete from memberships where tenant = $1 and subject = $2")
        .bind(tenant)
        .bind(subject)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Tenants of a subject; a person is a member of few, but the answer is bounded all the same.
pub async fn tenants_of(db: &mut PgConnection, subject: Uuid, limit: i64) -> Result<Vec<String>, Error> {
    let rows: Vec<(String,)> =
        sqlx::query_as("select tenant from memberships where subject = $1 order by tenant limit $2")
            .bind(subject)
            .bind(limit)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(tenant,)| tenant).collect())
}
