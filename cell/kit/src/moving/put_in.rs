//! A tenant's rows on their way in: all of them in one transaction, or none.

use bytes::Bytes;
use contracts::services::TENANT_MOVE;
use contracts::{Generation, TenantId};
use futures::{Stream, StreamExt};
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::shape::Shape;
use super::{Line, MovingError, Part, TenantTable, Total, Totals, all, tables_of};
use crate::Scope;
use crate::database::{Database, Tx};

/// The longest row; an event in an outbox is below 1 MB.
const MOST_LINE: usize = 8 << 20;
/// Rows, or bytes, of one insert.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;

/// From now on nobody writes in the tenant at an older generation. Waits for those who are at it.
pub async fn fence(database: &Database, tenant: &TenantId, generation: Generation) -> Result<(), MovingError> {
    Ok(database.begin_fenced(tenant, generation).await?.commit().await?)
}

/// Takes the rows that stand in the tenant's declared tables away.
pub async fn remove(
    database: &Database,
    declared: &[TenantTable],
    tenant: &TenantId,
    generation: Generation,
) -> Result<(), MovingError> {
    let mut tx = database.begin_fenced(tenant, generation).await?;
    clear(&mut tx, &all(declared)).await?;
    Ok(tx.commit().await?)
}

async fn clear(tx: &mut Tx, tables: &[TenantTable]) -> Result<(), MovingError> {
    for table in tables.iter().rev().filter(|table| table.kept_by.is_none()) {
        // Row-level security narrows it to the tenant.
        sqlx::query(AssertSqlSafe(format!("delete from {}", table.name))).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Puts rows in the place of what the tenant has here. Done again, it comes to the same. Kept rows alone come while the
/// tenant works elsewhere, at its generation there.
pub async fn put_in<E: std::error::Error + Send + Sync + 'static>(
    database: &Database,
    declared: &[TenantTable],
    tenant: &TenantId,
    generation: Generation,
    part: Part,
    rows: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<Totals, MovingError> {
    let tables = tables_of(part, declared);
    let mut tx = match part {
        Part::All => database.begin_fenced(tenant, generation).await?,
        Part::Kept => database.begin(&Scope::of_service(TENANT_MOVE, tenant.clone(), generation)).await?,
    };
    clear(&mut tx, &tables).await?;
    let reader = StreamReader::new(Box::pin(rows.map(|piece| piece.map_err(std::io::Error::other))));
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(MOST_LINE));
    let (mut batch, mut number, mut end) = (Batch::default(), 0, None);
    while let Some(line) = lines.next().await {
        let line = line.map_err(|_| MovingError::NotWhole)?;
        number += 1;
        if end.is_some() {
            return Err(MovingError::Malformed(number));
        }
        match serde_json::from_str(&line).map_err(|_| MovingError::Malformed(number))? {
            Line::End(totals) => end = Some(totals),
            Line::Row { table, row } => {
                let table = tables.iter().find(|known| known.name == table);
                batch.add(&mut tx, *table.ok_or(MovingError::Malformed(number))?, row).await?;
            }
        }
    }
    batch.flush(&mut tx).await?;
    let end = end.ok_or(MovingError::NotWhole)?;
    compare(&mut tx, &tables, &end).await?;
    tx.commit().await?;
    Ok(end)
}

/// Of a table whose rows are kept, others may have been there before, if all of them were sent.
async fn compare(tx: &mut Tx, tables: &[TenantTable], end: &Totals) -> Result<(), MovingError> {
    for table in tables {
        let differs = || MovingError::Differs(table.name.to_owned());
        let there = end.get(table.name).ok_or_else(differs)?;
        let after = table.kept_by.zip(there.after);
        let here = Shape::of(tx, table.name).await?.total(tx, after).await?;
        if !is_there(*table, &here, there) {
            return Err(differs());
        }
    }
    Ok(())
}

fn is_there(table: TenantTable, here: &Total, there: &Total) -> bool {
    if table.kept_by.is_some() && there.after.is_none() { here.rows >= there.rows } else { here == there }
}

/// Rows of one table that are inserted together.
#[derive(Default)]
struct Batch {
    table: Option<(TenantTable, Shape)>,
    rows: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Batch {
    async fn add(&mut self, tx: &mut Tx, table: TenantTable, row: Box<RawValue>) -> Result<(), MovingError> {
        if self.table.as_ref().is_none_or(|(current, _)| *current != table) {
            self.flush(tx).await?;
            self.table = Some((table, Shape::of(tx, table.name).await?));
        }
        self.bytes += row.get().len();
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush(tx).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, tx: &mut Tx) -> Result<(), MovingError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let Some((table, shape)) = self.table.as_ref().filter(|_| !rows.is_empty()) else { return Ok(()) };
        let text = format!("[{}]", rows.iter().map(|row| row.get()).collect::<Vec<_>>().join(","));
        sqlx::query(AssertSqlSafe(shape.insert(table.kept_by.is_some()))).bind(text).execute(&mut **tx).await?;
        Ok(())
    }
}
