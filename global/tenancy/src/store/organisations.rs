//! Organisations.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Organisation {
    pub id: String,
    pub name: String,
    pub created_at: OffsetDateTime,
}

/// Answers whether it is new.
pub async fn insert(db: &mut PgConnection, id: &str, name: &str) -> Result<bool, Error> {
    let done = sqlx::query("insert into organisations (id, name) values ($1, $2) on conflict (id) do nothing")
        .bind(id)
        .bind(name)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn find(db: &mut PgConnection, id: &str) -> Result<Option<Organisation>, Error> {
    Ok(sqlx::query_as("select * from organisations where id = $1").bind(id).fetch_optional(db).await?)
}

/// `horizon` is the one organisation to list, or none for all.
pub async fn list(
    db: &mut PgConnection,
    horizon: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Organisation>, Error> {
    let rows = sqlx::query_as(
        "select * from organisations where ($1::text is null or id = $1) and ($2::text is null or id > $2)
         order by id limit $3",
    );
    Ok(rows.bind(horizon).bind(after).bind(limit).fetch_all(db).await?)
}
