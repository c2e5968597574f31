//! How a tenant's rows leave one cell and enter another. A service declares its tables of tenants and has nothing else
//! to do for it (docs/adr/0017-a-tenant-moves.md).
//!
//! Invariants: what is put in is whole and is what was taken out, or nothing of it is in; rows that are in stand at the
//! generation they came with, so that nobody older writes beside them; a table of tenants that nobody declared keeps
//! its service from starting.

mod api;
mod put_in;
mod settling;
mod shape;
mod take_out;
mod under_way;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::database::{Database, DatabaseError};
use crate::fault::{Fault, Kind};

pub use api::router;
pub use put_in::{fence, put_in, remove};
pub use settling::{Round, Settles, Settling, Unsettled};
pub use take_out::{kept, take_out};
pub use under_way::{Change, UnderWay};

/// A table of tenants, as its service declares it; parents before children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantTable {
    pub name: &'static str,
    /// Of a table whose rows are never changed or deleted, the column that numbers a tenant's rows in the order in which
    /// they became visible. They stay where they were written, and are added where they go.
    pub kept_by: Option<&'static str>,
}

impl TenantTable {
    pub const fn rows(name: &'static str) -> Self {
        Self { name, kept_by: None }
    }

    /// Each row has to say what came before it, as a link of a chain does: two cells that have the same row have the same
    /// rows before it.
    pub const fn kept(name: &'static str, by: &'static str) -> Self {
        Self { name, kept_by: Some(by) }
    }
}

/// Which tables are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    #[default]
    All,
    /// Those whose rows are kept: they can be brought while the tenant still works.
    Kept,
}

/// What the kit itself keeps of tenants in every database. The fence stays: it is the cell's own.
const OUTBOX: TenantTable = TenantTable::rows("outbox");
const FENCE: &str = "tenant_fence";

fn all(declared: &[TenantTable]) -> Vec<TenantTable> {
    declared.iter().copied().chain([OUTBOX]).collect()
}

fn tables_of(part: Part, declared: &[TenantTable]) -> Vec<TenantTable> {
    let mut tables = all(declared);
    tables.retain(|table| part == Part::All || table.kept_by.is_some());
    tables
}

impl Part {
    /// As a query says it.
    pub fn name(self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Kept => "kept",
        }
    }
}

/// How many rows a table has, and the sum of their hashes: the same rows in any order have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    pub rows: i64,
    pub sum: String,
    /// Only rows with a greater number are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}

/// The last row that a cell has of a table whose rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub number: i64,
    pub hash: String,
}

/// By table whose rows are kept; `None`: it has none yet.
pub type Kept = BTreeMap<String, Option<Last>>;

/// By table.
pub type Totals = BTreeMap<String, Total>;

/// A line of the rows as they travel (NDJSON); one `end` comes last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<R> {
    Row { table: String, row: R },
    End(Totals),
}

#[derive(Debug, thiserror::Error)]
pub enum MovingError {
    #[error("only tenant-move may ask for this")]
    NotTheMover,
    #[error("the path names no tenant")]
    NoTenant,
    #[error("the service keeps no rows of tenants")]
    NoRows,
    #[error("what is known of kept rows is not understood")]
    Known,
    #[error("line {0} is not a row of a declared table")]
    Malformed(u64),
    #[error("the rows broke off before their end")]
    NotWhole,
    #[error("the rows of {0} are not what was taken out")]
    Differs(String),
    #[error("{0} has not settled in time")]
    Unsettled(String),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for MovingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Fault for MovingError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotTheMover => Kind::Forbidden,
            Self::NoTenant | Self::NoRows => Kind::NotFound,
            Self::Known | Self::Malformed(_) | Self::NotWhole => Kind::Invalid,
            Self::Differs(_) => Kind::Conflict,
            Self::Unsettled(_) => Kind::Unavailable,
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotTheMover => "moving/not-the-mover",
            Self::NoTenant => "moving/no-tenant",
            Self::NoRows => "moving/no-rows",
            Self::Known => "moving/known",
            Self::Malformed(_) => "moving/malformed",
            Self::NotWhole => "moving/not-whole",
            Self::Differs(_) => "moving/differs",
            Self::Unsettled(_) => "moving/unsettled",
            Self::Database(error) => error.code(),
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Self::Database(error) => error.generation_required(),
            _ => None,
        }
    }
}

/// Tables of tenants that no one declared, and declared ones that are none; empty is good.
pub async fn undeclared(database: &Database, declared: &[TenantTable]) -> Result<Vec<String>, DatabaseError> {
    let found: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_policies where policyname = 'tenant_scope'")
            .fetch_all(database.pool())
            .await?;
    let known = |name: &str| name == FENCE || all(declared).iter().any(|table| table.name == name);
    let strange = found.iter().filter(|name| !known(name)).cloned();
    let absent = declared.iter().map(|table| table.name.to_owned()).filter(|name| !found.contains(name));
    Ok(strange.chain(absent).collect())
}
