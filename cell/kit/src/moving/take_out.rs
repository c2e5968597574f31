//! A tenant's rows on their way out, as they stand at one moment.

use bytes::Bytes;
use contracts::TenantId;
use futures::{Stream, stream};
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use super::shape::Shape;
use super::{Line, MovingError, TenantTable, Totals, all};
use crate::database::{Database, DatabaseError, Tx};

/// Rows of one piece.
const PIECE: usize = 200;

struct Taking {
    tx: Tx,
    tables: std::vec::IntoIter<TenantTable>,
    /// Whose rows are coming.
    current: Option<&'static str>,
    totals: Totals,
    ended: bool,
}

/// Everything the tenant has in the declared tables. Nothing is held back for the reader but one piece.
pub async fn take_out(
    database: &Database,
    declared: &[TenantTable],
    tenant: &TenantId,
) -> Result<impl Stream<Item = Result<Bytes, MovingError>> + Send + use<>, MovingError> {
    let tx = database.begin_moment(tenant).await?;
    let tables = all(declared).into_iter();
    let taking = Taking { tx, tables, current: None, totals: Totals::new(), ended: false };
    Ok(stream::try_unfold(taking, |mut taking| async move { Ok(taking.piece().await?.map(|piece| (piece, taking))) }))
}

impl Taking {
    async fn piece(&mut self) -> Result<Option<Bytes>, MovingError> {
        loop {
            let table = match self.current {
                Some(table) => table,
                None => match self.tables.next() {
                    Some(table) => self.open(table.name).await?,
                    None => return Ok(self.end()),
                },
            };
            let fetch = format!("fetch {PIECE} from rows_of_{table}");
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(fetch)).fetch_all(&mut *self.tx).await?;
            if !rows.is_empty() {
                return Ok(Some(lines(table, rows)?));
            }
            self.current = None;
        }
    }

    async fn open(&mut self, table: &'static str) -> Result<&'static str, DatabaseError> {
        let shape = Shape::of(&mut self.tx, table).await?;
        let total = shape.total(&mut self.tx).await?;
        self.totals.insert(table.to_owned(), total);
        let declare = format!("declare rows_of_{table} no scroll cursor for {}", shape.select());
        sqlx::query(AssertSqlSafe(declare)).execute(&mut *self.tx).await?;
        self.current = Some(table);
        Ok(table)
    }

    fn end(&mut self) -> Option<Bytes> {
        let end = (!std::mem::replace(&mut self.ended, true)).then(|| std::mem::take(&mut self.totals))?;
        serde_json::to_string(&Line::<&RawValue>::End(end)).ok().map(|line| (line + "\n").into())
    }
}

fn lines(table: &str, rows: Vec<String>) -> Result<Bytes, MovingError> {
    let broken = |error| MovingError::Database(DatabaseError::Event(error));
    let mut text = Vec::new();
    for row in rows {
        let row = RawValue::from_string(row).map_err(broken)?;
        serde_json::to_writer(&mut text, &Line::Row { table: table.to_owned(), row }).map_err(broken)?;
        text.push(b'\n');
    }
    Ok(text.into())
}
