//! Which files a filter can rule out, and how few rows it may leave.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::{AnalysisContext, PhysicalExpr, analyze};
use datafusion::physical_optimizer::pruning::PruningPredicate;

use super::statistics::{Bounds, TableFile};

/// Below this share of rows a filter is worth evaluating inside the Parquet reader: the other
/// columns of the rows it drops are then never decoded. Above it the detour costs more than it saves.
const SELECTIVE: f64 = 0.1;

/// The files that may hold a row for which `filter` is true.
pub(crate) fn kept<'a>(
    files: &'a [TableFile],
    schema: &SchemaRef,
    filter: Option<&Arc<dyn PhysicalExpr>>,
) -> Result<Vec<&'a TableFile>> {
    let Some(filter) = filter else { return Ok(files.iter().collect()) };
    let predicate = PruningPredicate::try_new(Arc::clone(filter), Arc::clone(schema))?;
    if predicate.always_true() {
        return Ok(files.iter().collect());
    }
    let keep = predicate.prune(&FileBounds { files, schema })?;
    Ok(files.iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect())
}

struct FileBounds<'a> {
    files: &'a [TableFile],
    schema: &'a SchemaRef,
}

impl FileBounds<'_> {
    fn array(&self, column: &Column, bound: impl Fn(&Bounds) -> &Option<ScalarValue>) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let unknown = ScalarValue::try_new_null(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            file.columns.get(index).and_then(|bounds| bound(bounds).clone()).unwrap_or_else(|| unknown.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |bounds| &bounds.lower)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |bounds| &bounds.upper)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let counts: UInt64Array = self.files.iter().map(|f| f.columns.get(index).and_then(|b| b.nulls)).collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.files.iter().map(|file| file.rows))))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// Whether the filters are expected to drop almost every row.
pub(crate) fn is_selective(
    filters: &[Expr],
    whole: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
    table: &Statistics,
) -> bool {
    if filters.iter().any(is_equality) {
        return true;
    }
    // Ranges: how much of the columns' span the filter leaves.
    let estimate = AnalysisContext::try_from_statistics(schema, &table.column_statistics)
        .and_then(|context| analyze(whole, context, schema))
        .ok()
        .and_then(|context| context.selectivity);
    estimate.is_some_and(|share| share < SELECTIVE)
}

/// `column = value`, a short `column in (…)`, or an `and` with one of them.
fn is_equality(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => is_equality(left) || is_equality(right),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            matches!(
                (left.as_ref(), right.as_ref()),
                (Expr::Column(_), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(_))
            )
        }
        Expr::InList(list) => !list.negated && list.list.len() <= 8 && matches!(list.expr.as_ref(), Expr::Column(_)),
        _ => false,
    }
}
