//! A tenant's rows on their way out, as they stand at one moment.

use bytes::Bytes;
use contracts::TenantId;
use futures::{Stream, stream};
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use super::shape::Shape;
use super::{Kept, Last, Line, MovingError, Part, TenantTable, Totals, tables_of};
use crate::database::{Database, DatabaseError, Tx};

/// Rows of one piece.
const PIECE: usize = 200;

struct Taking {
    tx: Tx,
    tables: std::vec::IntoIter<TenantTable>,
    /// What the one who takes has already.
    known: Kept,
    /// Whose rows are coming.
    current: Option<&'static str>,
    totals: Totals,
    ended: bool,
}

/// What a cell has of the tables whose rows are kept.
pub async fn kept(database: &Database, declared: &[TenantTable], tenant: &TenantId) -> Result<Kept, MovingError> {
    let mut tx = database.begin_moment(tenant).await?;
    let mut kept = Kept::new();
    for table in tables_of(Part::Kept, declared) {
        let Some(column) = table.kept_by else { continue };
        let last = Shape::of(&mut tx, table.name).await?.last(&mut tx, column, None).await?;
        kept.insert(table.name.to_owned(), last);
    }
    Ok(kept)
}

/// What the tenant has in those of the declared tables, but kept rows that are `known`. Nothing is held back for the
/// reader but one piece.
pub async fn take_out(
    database: &Database,
    declared: &[TenantTable],
    tenant: &TenantId,
    part: Part,
    known: Kept,
) -> Result<impl Stream<Item = Result<Bytes, MovingError>> + Send + use<>, MovingError> {
    let tx = database.begin_moment(tenant).await?;
    let tables = tables_of(part, declared).into_iter();
    let taking = Taking { tx, tables, known, current: None, totals: Totals::new(), ended: false };
    Ok(stream::try_unfold(taking, |mut taking| async move { Ok(taking.piece().await?.map(|piece| (piece, taking))) }))
}

impl Taking {
    async fn piece(&mut self) -> Result<Option<Bytes>, MovingError> {
        loop {
            let table = match self.current {
                Some(table) => table,
                None => match self.tables.next() {
                    Some(table) => self.open(table).await?,
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

    async fn open(&mut self, table: TenantTable) -> Result<&'static str, DatabaseError> {
        let shape = Shape::of(&mut self.tx, table.name).await?;
        let after = self.after(table, &shape).await?;
        let total = shape.total(&mut self.tx, after).await?;
        self.totals.insert(table.name.to_owned(), total);
        let declare = format!("declare rows_of_{} no scroll cursor for {}", table.name, shape.select(after));
        sqlx::query(AssertSqlSafe(declare)).execute(&mut *self.tx).await?;
        self.current = Some(table.name);
        Ok(table.name)
    }

    /// The last row that is known, if it is the same here.
    async fn after(&mut self, table: TenantTable, shape: &Shape) -> Result<Option<(&'static str, i64)>, DatabaseError> {
        let Some((column, known)) = table.kept_by.zip(self.known.remove(table.name).flatten()) else { return Ok(None) };
        let here: Option<Last> = shape.last(&mut self.tx, column, Some(known.number)).await?;
        Ok((here.as_ref() == Some(&known)).then_some((column, known.number)))
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
