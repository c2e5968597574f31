//! Reading files that were written under another schema: columns are found by field id.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapter, PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::statistics::field_id;

/// Adapts expressions on the table's columns to a file's columns with the same field id.
#[derive(Debug)]
pub(crate) struct ByFieldId;

impl PhysicalExprAdapterFactory for ByFieldId {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let names: HashMap<i32, &str> =
            table.fields().iter().filter_map(|f| Some((field_id(f)?, f.name().as_str()))).collect();
        let renamed: Vec<Field> = file
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| field.as_ref().clone().with_name(table_name(field, index, &names)))
            .collect();
        let renamed = Arc::new(Schema::new_with_metadata(renamed, file.metadata().clone()));
        let inner = DefaultPhysicalExprAdapter::new(table, renamed);
        Ok(Arc::new(Adapter { inner, file }))
    }
}

/// The table's present name of a file's column. A column without an id is taken by its name, as
/// files of other writers have it; one whose id the table no longer knows must not be found, even
/// if a younger column bears its old name.
fn table_name(field: &Field, index: usize, names: &HashMap<i32, &str>) -> String {
    match field_id(field) {
        Some(id) => names.get(&id).map_or_else(|| format!("\u{0}dropped-{index}"), |name| (*name).to_owned()),
        None => field.name().clone(),
    }
}

#[derive(Debug)]
struct Adapter {
    inner: DefaultPhysicalExprAdapter,
    file: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        // The inner adapter yields columns under the table's names at the file's positions; the
        // reader looks them up under the file's own names.
        self.inner
            .rewrite(expression)?
            .transform(|node| {
                let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
                match self.file.fields().get(column.index()) {
                    Some(field) if field.name() != column.name() => {
                        Ok(Transformed::yes(Arc::new(Column::new(field.name(), column.index())) as _))
                    }
                    _ => Ok(Transformed::no(node)),
                }
            })
            .data()
    }
}
