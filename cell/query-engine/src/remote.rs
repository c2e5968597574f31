//! A table behind another Flight SQL server: services of a cell read each other's data over the
//! same wire that clients use.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::project_schema;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::PostgreSqlDialect;
use flight_sql::Client;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Result, TableName};

/// Projection, filters and limit are sent as SQL, so the peer returns what is needed and no more.
#[derive(Debug)]
pub struct FlightSqlTable {
    client: Client,
    name: TableName,
    schema: SchemaRef,
}

impl FlightSqlTable {
    /// Asks the peer for the table's columns.
    pub async fn open(client: Client, name: TableName) -> Result<Self, flight_sql::Error> {
        let all = format!("SELECT * FROM {}", quoted(&name));
        let schema = Arc::clone(client.prepare(&all).await?.dataset_schema());
        Ok(Self { client, name, schema })
    }

    /// The statement the peer is to run.
    fn statement(&self, columns: &SchemaRef, filters: &[Expr], limit: Option<usize>) -> DataFusionResult<String> {
        let columns: Vec<String> = columns.fields().iter().map(|field| identifier(field.name())).collect();
        // Without columns only the number of rows is wanted.
        let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
        let mut sql = format!("SELECT {columns} FROM {}", quoted(&self.name));
        let conditions = filters.iter().map(condition).collect::<DataFusionResult<Vec<_>>>()?;
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        Ok(sql)
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted(name: &TableName) -> String {
    format!("{}.{}", identifier(&name.namespace), identifier(&name.table))
}

/// A filter as SQL over the table's own columns.
fn condition(filter: &Expr) -> DataFusionResult<String> {
    let own = filter.clone().transform(|node| match node {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    });
    let dialect = PostgreSqlDialect {};
    Ok(format!("({})", Unparser::new(&dialect).expr_to_sql(&own.data()?)?))
}

/// Whether the peer would come to the same answer for a row.
fn travels(filter: &Expr) -> bool {
    let local = filter.exists(|node| {
        Ok(matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
                | Expr::ScalarVariable(..)
        ))
    });
    !filter.is_volatile() && matches!(local, Ok(false)) && condition(filter).is_ok()
}

#[async_trait]
impl TableProvider for FlightSqlTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        None
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match travels(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let sql = self.statement(&schema, filters, limit)?;
        let part = RemotePart { client: self.client.clone(), sql, schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(part)], None, None, false, limit)?))
    }
}

#[derive(Debug)]
struct RemotePart {
    client: Client,
    sql: String,
    schema: SchemaRef,
}

impl PartitionStream for RemotePart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (client, sql, schema) = (self.client.clone(), self.sql.clone(), Arc::clone(&self.schema));
        let rows = stream::once(async move { client.execute(&sql).await })
            .try_flatten()
            .map_err(|error| DataFusionError::External(Box::new(crate::Error::catalog(error))))
            .map(move |batch| reshape(&schema, batch?));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

fn reshape(schema: &SchemaRef, batch: RecordBatch) -> DataFusionResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = if schema.fields().is_empty() { Vec::new() } else { batch.columns().to_vec() };
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
