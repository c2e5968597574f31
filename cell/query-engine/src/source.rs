//! Where tables come from.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use kit::Scope;
use serde::{Deserialize, Serialize};

use crate::Result;

/// A table of a tenant's catalog. Levels of a nested namespace are joined by `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    pub namespace: String,
    pub table: String,
}

impl TableName {
    pub fn new(namespace: impl Into<String>, table: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.table)
    }
}

/// The very state of a table that a statement was planned on. Whoever executes the statement later
/// reads exactly this, whatever was committed in between.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pin {
    #[serde(flatten)]
    pub name: TableName,
    /// Location of the table's metadata file; immutable once written.
    pub metadata_location: String,
    /// Absent for a table without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<i64>,
}

/// A table ready to be planned on.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub provider: Arc<dyn TableProvider>,
    pub pin: Pin,
    /// What it costs to keep in memory, in units of about 100 bytes.
    pub weight: u32,
}

/// One tenant's tables at a time: every call names the scope, and only the scope's tenant is seen.
#[async_trait]
pub trait TableSource: fmt::Debug + Send + Sync {
    async fn namespaces(&self, scope: &Scope) -> Result<Vec<String>>;
    /// Empty when there is no such namespace.
    async fn tables(&self, scope: &Scope, namespace: &str) -> Result<Vec<String>>;
    /// The table as it is now.
    async fn table(&self, scope: &Scope, name: &TableName) -> Result<Option<Resolved>>;
    /// The table's present columns; cheaper than the table.
    async fn schema(&self, scope: &Scope, name: &TableName) -> Result<Option<SchemaRef>> {
        Ok(self.table(scope, name).await?.map(|resolved| resolved.provider.schema()))
    }
    /// The table as it was when `pin` was taken.
    async fn pinned(&self, scope: &Scope, pin: &Pin) -> Result<Option<Resolved>>;
}
