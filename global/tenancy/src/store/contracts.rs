//! Published contract bundles.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Bundle {
    pub version: i32,
    pub document: String,
    pub sha256: String,
    pub published_at: OffsetDateTime,
}

/// Publishes a version once. Answers the digest that is stored under it.
pub async fn publish(db: &mut PgConnection, version: i32, document: &str, sha256: &str) -> Result<String, Error> {
    sqlx::query("insert into contract_bundles (version, document, sha256) values ($1, $2, $3) on conflict do nothing")
        .bind(version)
        .bind(document)
        .bind(sha256)
        .execute(&mut *db)
        .await?;
    let (stored,): (String,) =
        sqlx::query_as("select sha256 from contract_bundles where version = $1").bind(version).fetch_one(db).await?;
    Ok(stored)
}

/// One version, or the newest.
pub async fn find(db: &mut PgConnection, version: Option<i32>) -> Result<Option<Bundle>, Error> {
    let row = sqlx::query_as(
        "select * from contract_bundles where $1::integer is null or version = $1 order by version desc limit 1",
    );
    Ok(row.bind(version).fetch_optional(db).await?)
}

pub async fn list(db: &mut PgConnection, after: Option<i32>, limit: i64) -> Result<Vec<Bundle>, Error> {
    let rows = sqlx::query_as(
        "select * from contract_bundles where $1::integer is null or version > $1 order by version limit $2",
    );
    Ok(rows.bind(after).bind(limit).fetch_all(db).await?)
}
