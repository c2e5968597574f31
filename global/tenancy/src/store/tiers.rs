//! Tiers.

use contracts::TierId;
use contracts::tiers::Tier;
use sqlx::PgConnection;

use crate::error::Error;

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    requests_per_second: i32,
    request_burst: i32,
    concurrent_requests: i32,
    bytes_per_second: i64,
    byte_burst: i64,
    body_bytes: i64,
    weight: i32,
}

impl TryFrom<Row> for Tier {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            tier: TierId::new(row.id).map_err(|_| Error::Broken("a stored name is not well formed"))?,
            requests_per_second: row.requests_per_second.unsigned_abs(),
            request_burst: row.request_burst.unsigned_abs(),
            concurrent_requests: row.concurrent_requests.unsigned_abs(),
            bytes_per_second: row.bytes_per_second.unsigned_abs(),
            byte_burst: row.byte_burst.unsigned_abs(),
            body_bytes: row.body_bytes.unsigned_abs(),
            weight: row.weight.unsigned_abs(),
        })
    }
}

/// Tiers after `after`, or the one.
pub async fn list(
    db: &mut PgConnection,
    only: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Tier>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from tiers where ($1::text is null or id = $1) and ($2::text is null or id > $2) order by id limit $3",
    )
    .bind(only)
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Tier::try_from).collect()
}

pub async fn find(db: &mut PgConnection, id: &TierId) -> Result<Option<Tier>, Error> {
    Ok(list(db, Some(id.as_str()), None, 1).await?.pop())
}

pub async fn upsert(db: &mut PgConnection, tier: &Tier) -> Result<(), Error> {
    let too_large = |_| Error::Invalid("a limit is too large");
    let whole = |number: u32| i32::try_from(number).map_err(too_large);
    let long = |number: u64| i64::try_from(number).map_err(too_large);
    sqlx::query(
        "insert into tiers (id, requests_per_second, request_burst, concurrent_requests, bytes_per_second, byte_burst,
                            body_bytes, weight)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (id) do update set requests_per_second = excluded.requests_per_second,
           request_burst = excluded.request_burst, concurrent_requests = excluded.concurrent_requests,
           bytes_per_second = excluded.bytes_per_second, byte_burst = excluded.byte_burst,
           body_bytes = excluded.body_bytes, weight = excluded.weight",
    )
    .bind(tier.tier.as_str())
    .bind(whole(tier.requests_per_second)?)
    .bind(whole(tier.request_burst)?)
    .bind(whole(tier.concurrent_requests)?)
    .bind(long(tier.bytes_per_second)?)
    .bind(long(tier.byte_burst)?)
    .bind(long(tier.body_bytes)?)
    .bind(whole(tier.weight)?)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn delete(db: &mut PgConnection, id: &TierId) -> Result<(), Error> {
    sqlx::query("delete from tiers where id = $1").bind(id.as_str()).execute(db).await?;
    Ok(())
}

/// Whether a tenant that is not removed is of the tier.
pub async fn is_in_use(db: &mut PgConnection, id: &TierId) -> Result<bool, Error> {
    let (used,): (bool,) =
        sqlx::query_as("select exists (select from tenants where tier = $1)").bind(id.as_str()).fetch_one(db).await?;
    Ok(used)
}
