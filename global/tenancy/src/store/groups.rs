//! Groups of routers.

use std::collections::BTreeSet;

use contracts::GroupId;
use sqlx::PgConnection;

use crate::error::Error;
use crate::store::routing::ill_formed;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Group {
    pub id: String,
    pub addresses: Vec<String>,
}

/// All of them, by name. There are tens of them.
pub async fn list(db: &mut PgConnection) -> Result<Vec<Group>, Error> {
    Ok(sqlx::query_as("select id, addresses from router_groups order by id").fetch_all(db).await?)
}

pub async fn ids(db: &mut PgConnection) -> Result<BTreeSet<GroupId>, Error> {
    list(db).await?.into_iter().map(|group| GroupId::new(group.id).map_err(ill_formed)).collect()
}

pub async fn upsert(db: &mut PgConnection, id: &GroupId, addresses: &[String]) -> Result<(), Error> {
    sqlx::query(
        "insert into router_groups (id, addresses) values ($1, $2)
         on conflict (id) do update set addresses = excluded.addresses",
    )
    .bind(id.as_str())
    .bind(addresses)
    .execute(db)
    .await?;
    Ok(())
}

/// Answers whether it was there.
pub async fn delete(db: &mut PgConnection, id: &GroupId) -> Result<bool, Error> {
    Ok(sqlx::query("delete from router_groups where id = $1").bind(id.as_str()).execute(db).await?.rows_affected() > 0)
}
