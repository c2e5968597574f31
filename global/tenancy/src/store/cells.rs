//! Cells and what they report.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::placement::{Candidate, CellKind, CellState};
use crate::error::Error;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Cell {
    pub id: String,
    pub http: String,
    pub flight: String,
    /// Where TLS of its tenants' own domains ends, if not at the routers.
    pub door: Option<String>,
    pub kind: String,
    pub organisation: Option<String>,
    pub state: String,
    /// Tenants it takes at most; 0 = no limit.
    pub capacity: i64,
    pub region: Option<String>,
}

impl Cell {
    pub fn kind(&self) -> Result<CellKind, Error> {
        CellKind::parse(&self.kind).ok_or(Error::Broken("a stored cell kind is not known"))
    }

    pub fn state(&self) -> Result<CellState, Error> {
        CellState::parse(&self.state).ok_or(Error::Broken("a stored cell state is not known"))
    }
}

/// A cell with what is known about it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct CellStatus {
    #[sqlx(flatten)]
    pub cell: Cell,
    pub tenants: i64,
    pub contracts_version: Option<i32>,
    pub contracts_sha256: Option<String>,
    pub drift: Option<Vec<String>>,
    pub reported_at: Option<OffsetDateTime>,
}

pub async fn find(db: &mut PgConnection, id: &str) -> Result<Option<Cell>, Error> {
    let row = sqlx::query_as(
        "select id, http, flight, door, kind, organisation, state, capacity, region from cells where id = $1",
    );
    Ok(row.bind(id).fetch_optional(db).await?)
}

/// Locked for the writer's transaction.
pub async fn lock(db: &mut PgConnection, id: &str) -> Result<Option<Cell>, Error> {
    let row = sqlx::query_as(
        "select id, http, flight, door, kind, organisation, state, capacity, region from cells where id = $1 for update",
    );
    Ok(row.bind(id).fetch_optional(db).await?)
}

pub async fn upsert(db: &mut PgConnection, cell: &Cell) -> Result<(), Error> {
    sqlx::query(
        "insert into cells (id, http, flight, kind, organisation, state, capacity, region, door)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (id) do update set http = excluded.http, flight = excluded.flight, door = excluded.door,
           organisation = excluded.organisation, state = excluded.state, capacity = excluded.capacity,
           region = excluded.region",
    )
    .bind(&cell.id)
    .bind(&cell.http)
    .bind(&cell.flight)
    .bind(&cell.kind)
    .bind(&cell.organisation)
    .bind(&cell.state)
    .bind(cell.capacity)
    .bind(&cell.region)
    .bind(&cell.door)
    .execute(db)
    .await
    .map_err(|error| Error::exists(error, "address, on another cell,"))?;
    Ok(())
}

/// A cell that was requested serves from now on. No router hears of it: it knows the cell's address already.
pub async fn is_ready(db: &mut PgConnection, id: &str) -> Result<(), Error> {
    sqlx::query("update cells set state = 'serving' where id = $1 and state = 'requested'")
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn delete(db: &mut PgConnection, id: &str) -> Result<(), Error> {
    sqlx::query("delete from cells where id = $1").bind(id).execute(db).await?;
    Ok(())
}

pub async fn tenants_in(db: &mut PgConnection, id: &str) -> Result<i64, Error> {
    let (count,): (i64,) =
        sqlx::query_as("select count(*) from tenants where cell = $1").bind(id).fetch_one(db).await?;
    Ok(count)
}

/// Tenants that have left the cell so far; none has left one that is not there.
pub async fn departed(db: &mut PgConnection, id: &str) -> Result<u64, Error> {
    let count: Option<(i64,)> =
        sqlx::query_as("select departed from cells where id = $1").bind(id).fetch_optional(db).await?;
    Ok(count.map_or(0, |(count,)| count.unsigned_abs()))
}

#[derive(sqlx::FromRow)]
struct Loaded {
    #[sqlx(flatten)]
    cell: Cell,
    tenants: i64,
}

/// Of whom the question is which tenants there are.
#[derive(Debug, Clone, Copy)]
pub enum Near<'a> {
    /// The organisation's tenants that are apart by the word; nobody's without it.
    Of(&'a str, Option<&'a str>),
    /// Those from which any tenant of the cell must be apart.
    All(&'a str),
}

/// Cells that have such a tenant, or are getting one by a move: cell, organisation, word.
async fn apart(db: &mut PgConnection, near: Near<'_>) -> Result<Vec<(String, String, String)>, Error> {
    let (organisation, word, cell) = match near {
        Near::Of(_, None) => return Ok(Vec::new()),
        Near::Of(organisation, word) => (Some(organisation), word, None),
        Near::All(cell) => (None, None, Some(cell)),
    };
    let rows = sqlx::query_as(
        "with of_them as (
           select distinct organisation, apart from tenants
           where apart is not null and ((organisation = $1 and apart = $2) or cell = $3)),
         housed as (
           select t.id, t.cell, t.organisation, t.apart from tenants t join of_them using (organisation, apart)
           where t.state = 'active')
         select cell, organisation, apart from housed
         union
         select m.target, h.organisation, h.apart from housed h join moves m on m.tenant = h.id
         where m.step not in ('done', 'cancelled')",
    );
    Ok(rows.bind(organisation).bind(word).bind(cell).fetch_all(db).await?)
}

/// All cells with their load, for the placement policy. There are tens of cells, not thousands.
pub async fn candidates(db: &mut PgConnection, near: Near<'_>) -> Result<Vec<Candidate>, Error> {
    let rows: Vec<Loaded> = sqlx::query_as(
        "select id, http, flight, door, kind, organisation, state, capacity, region, tenants from cells
         where state <> 'retired' order by id",
    )
    .fetch_all(&mut *db)
    .await?;
    let near = apart(db, near).await?;
    rows.into_iter()
        .map(|Loaded { cell, tenants }| {
            let here = near.iter().filter(|(there, ..)| *there == cell.id);
            Ok(Candidate {
                apart: here.map(|(_, organisation, word)| (organisation.clone(), word.clone())).collect(),
                kind: cell.kind()?,
                state: cell.state()?,
                id: cell.id,
                organisation: cell.organisation,
                tenants,
                capacity: cell.capacity,
                region: cell.region,
            })
        })
        .collect()
}

/// Cells after `after`; for an organisation, only shared cells and its own.
pub async fn list(
    db: &mut PgConnection,
    horizon: Option<&str>,
    only: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<CellStatus>, Error> {
    let rows = sqlx::query_as(
        "select c.id, c.http, c.flight, c.door, c.kind, c.organisation, c.state, c.capacity, c.region,
                case when $1::text is null then c.tenants
                     else (select count(*) from tenants t where t.cell = c.id and t.organisation = $1) end as tenants,
                r.contracts_version, r.contracts_sha256, r.drift, r.reported_at
         from cells c left join cell_reports r on r.cell = c.id
         where ($1::text is null or c.kind = 'shared' or c.organisation = $1)
           and ($2::text is null or c.id = $2) and ($3::text is null or c.id > $3)
         order by c.id limit $4",
    );
    Ok(rows.bind(horizon).bind(only).bind(after).bind(limit).fetch_all(db).await?)
}

/// Answers whether the cell exists.
pub async fn report(
    db: &mut PgConnection,
    id: &str,
    contracts_version: i32,
    contracts_sha256: &str,
    drift: &[String],
) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into cell_reports (cell, contracts_version, contracts_sha256, drift, reported_at)
         select id, $2, $3, $4, now() from cells where id = $1
         on conflict (cell) do update set contracts_version = excluded.contracts_version,
           contracts_sha256 = excluded.contracts_sha256, drift = excluded.drift, reported_at = excluded.reported_at",
    )
    .bind(id)
    .bind(contracts_version)
    .bind(contracts_sha256)
    .bind(drift)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
