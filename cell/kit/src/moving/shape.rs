//! What the database knows of a table: the columns that travel, and what its rows add up to.

use sqlx::AssertSqlSafe;

use super::{Last, Total};
use crate::database::{DatabaseError, Tx};

/// Names come from the service's own declaration and from the database, never from a caller.
pub(super) struct Shape {
    table: &'static str,
    columns: Vec<String>,
    /// Numbered by the database it stands in: left out, and given anew where the row goes.
    numbered: Option<String>,
}

impl Shape {
    pub async fn of(tx: &mut Tx, table: &'static str) -> Result<Self, DatabaseError> {
        let all: Vec<(String, bool)> = sqlx::query_as(
            "select attname::text, attidentity <> '' from pg_attribute
             where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(table)
        .fetch_all(&mut **tx)
        .await?;
        let (numbered, columns): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, identity)| *identity);
        let columns = columns.into_iter().map(|(name, _)| name).collect();
        Ok(Self { table, columns, numbered: numbered.into_iter().next().map(|(name, _)| name) })
    }

    fn row(&self) -> String {
        match &self.numbered {
            Some(name) => format!("(to_jsonb(t) - '{name}')::text"),
            None => "to_jsonb(t)::text".to_owned(),
        }
    }

    /// What tells rows apart that are not the same.
    fn hash(&self) -> String {
        format!("hashtextextended({}, 0)", self.row())
    }

    /// Those numbered after a row by a column of a table whose rows are kept.
    fn later(&self, after: Option<(&'static str, i64)>) -> String {
        let later = after.map(|(column, number)| format!(" where {column} > {number}"));
        format!("{} t{}", self.table, later.unwrap_or_default())
    }

    /// Rows as JSON, in the order in which they were numbered.
    pub fn select(&self, after: Option<(&'static str, i64)>) -> String {
        let order = self.numbered.as_ref().map(|name| format!(" order by {name}")).unwrap_or_default();
        format!("select {} from {}{order}", self.row(), self.later(after))
    }

    /// The last row by the column, or the one with that number.
    pub async fn last(&self, tx: &mut Tx, column: &str, number: Option<i64>) -> Result<Option<Last>, DatabaseError> {
        let found = format!(
            "select {column}, {}::text from {} t where $1::bigint is null or {column} = $1 order by {column} desc limit 1",
            self.hash(),
            self.table
        );
        let found = sqlx::query_as(AssertSqlSafe(found)).bind(number).fetch_optional(&mut **tx).await?;
        Ok(found.map(|(number, hash)| Last { number, hash }))
    }

    /// Takes an array of rows as `$1`.
    pub fn insert(&self, is_kept: bool) -> String {
        let (table, columns) = (self.table, self.columns.join(", "));
        let again = if is_kept { " on conflict do nothing" } else { "" };
        format!(
            "insert into {table} ({columns}) select {columns} from jsonb_populate_recordset(null::{table}, $1::jsonb){again}"
        )
    }

    pub async fn total(&self, tx: &mut Tx, after: Option<(&'static str, i64)>) -> Result<Total, DatabaseError> {
        let sum =
            format!("select count(*), coalesce(sum({}::numeric), 0)::text from {}", self.hash(), self.later(after));
        let (rows, sum) = sqlx::query_as(AssertSqlSafe(sum)).fetch_one(&mut **tx).await?;
        Ok(Total { rows, sum, after: after.map(|(_, number)| number) })
    }
}
