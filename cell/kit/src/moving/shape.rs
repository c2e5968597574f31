//! What the database knows of a table: the columns that travel, and what its rows add up to.

use sqlx::AssertSqlSafe;

use super::Total;
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

    /// Rows as JSON, in the order in which they were numbered.
    pub fn select(&self) -> String {
        let order = self.numbered.as_ref().map(|name| format!(" order by {name}")).unwrap_or_default();
        format!("select {} from {} t{order}", self.row(), self.table)
    }

    /// Takes an array of rows as `$1`.
    pub fn insert(&self, is_kept: bool) -> String {
        let (table, columns) = (self.table, self.columns.join(", "));
        let again = if is_kept { " on conflict do nothing" } else { "" };
        format!(
            "insert into {table} ({columns}) select {columns} from jsonb_populate_recordset(null::{table}, $1::jsonb){again}"
        )
    }

    pub async fn total(&self, tx: &mut Tx) -> Result<Total, DatabaseError> {
        let sum = format!(
            "select count(*), coalesce(sum(hashtextextended({}, 0)::numeric), 0)::text from {} t",
            self.row(),
            self.table
        );
        let (rows, sum) = sqlx::query_as(AssertSqlSafe(sum)).fetch_one(&mut **tx).await?;
        Ok(Total { rows, sum })
    }
}
