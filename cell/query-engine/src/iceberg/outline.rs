//! Tables to plan on, not to read: all the edge needs to know of a table is its columns.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use kit::Scope;

use super::lake::{Lake, reference};
use crate::source::{Pin, Resolved, TableName, TableSource};
use crate::{Error, Result};

/// A table's columns.
#[derive(Debug)]
struct Outline(SchemaRef);

#[async_trait]
impl TableProvider for Outline {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Internal("an outline holds no rows".to_owned()))
    }
}

/// The lake's tables without their files: binding against it reads no manifest.
#[derive(Debug, Clone)]
pub struct LakeOutline(Arc<Lake>);

impl LakeOutline {
    pub fn new(lake: Arc<Lake>) -> Self {
        Self(lake)
    }
}

#[async_trait]
impl TableSource for LakeOutline {
    async fn namespaces(&self, scope: &Scope) -> Result<Vec<String>> {
        self.0.namespaces(scope).await
    }

    async fn tables(&self, scope: &Scope, namespace: &str) -> Result<Vec<String>> {
        self.0.tables(scope, namespace).await
    }

    async fn table(&self, scope: &Scope, name: &TableName) -> Result<Option<Resolved>> {
        let Some((base, snapshot)) = reference(&name.table) else { return Ok(None) };
        let Some(loaded) = self.0.load(scope, &name.namespace, base).await? else { return Ok(None) };
        let Some(snapshot_id) = loaded.chosen(snapshot) else { return Ok(None) };
        let schema = super::table::schema_at(&loaded.table.metadata, snapshot_id)?;
        let pin = Pin { name: name.clone(), metadata_location: loaded.table.metadata_location, snapshot_id };
        let weight = u32::try_from(schema.fields().len()).unwrap_or(u32::MAX);
        Ok(Some(Resolved { provider: Arc::new(Outline(schema)), pin, weight }))
    }

    async fn schema(&self, scope: &Scope, name: &TableName) -> Result<Option<SchemaRef>> {
        self.0.schema(scope, name).await
    }

    async fn pinned(&self, _: &Scope, _: &Pin) -> Result<Option<Resolved>> {
        Err(Error::Engine("an outline holds no snapshots".into()))
    }
}
