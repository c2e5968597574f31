//! Plans of statements that came before: the same text over the same state of the same tables has the same
//! plan, and to make it costs more than to run it where few rows are read.

use std::sync::Arc;

use contracts::TenantId;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use moka::future::Cache;

use crate::SessionOptions;
use crate::catalog::Names;
use crate::engine::Request;
use crate::source::Pin;

/// Units of about 100 bytes kept over all plans.
const KEPT: u64 = 500_000;
/// A plan of a short text, without its tables.
const PLAN: usize = 100;

/// Everything a plan depends on. The tenant is part of it: a name means another table to each.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    tenant: TenantId,
    session: SessionOptions,
    sql: String,
    pins: Vec<Pin>,
}

impl Key {
    /// `None` for a statement that reads more than its pins tell.
    pub(crate) fn of(request: Request<'_>, names: &Names) -> Option<Self> {
        names.is_pinned.then(|| Self {
            tenant: request.scope.tenant.clone(),
            session: request.session.clone(),
            sql: request.sql.to_owned(),
            pins: names.pins.clone(),
        })
    }
}

/// What binding a statement came to.
#[derive(Debug)]
pub(crate) struct Plan {
    pub plan: LogicalPlan,
    pub schema: SchemaRef,
    pub parameters: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct Plans(Cache<Key, (Arc<Plan>, u32)>);

impl Plans {
    pub(crate) fn new() -> Self {
        let weigher = |key: &Key, (_, tables): &(Arc<Plan>, u32)| {
            // Expressions grow with the text: about a unit for each byte of it.
            u32::try_from(key.sql.len() + PLAN).unwrap_or(u32::MAX).saturating_add(*tables)
        };
        Self(Cache::builder().max_capacity(KEPT).weigher(weigher).build())
    }

    pub(crate) async fn get(&self, key: Option<&Key>) -> Option<Arc<Plan>> {
        self.0.get(key?).await.map(|(plan, _)| plan)
    }

    /// `tables` is what its tables cost to keep.
    pub(crate) async fn keep(&self, key: Option<Key>, plan: &Arc<Plan>, tables: u32) {
        if let Some(key) = key {
            self.0.insert(key, (Arc::clone(plan), tables)).await;
        }
    }
}

/// Whether the plan means the same whenever it runs: no clock and no chance in it. Asked before the plan is
/// optimised, because that puts the time of day in the place of `now()`.
pub(crate) fn is_timeless(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut timeless = true;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                timeless &= match expr {
                    Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
                    Expr::AggregateFunction(call) => call.func.signature().volatility == Volatility::Immutable,
                    Expr::WindowFunction(call) => call.fun.signature().volatility == Volatility::Immutable,
                    Expr::ScalarVariable(..) => false,
                    _ => true,
                };
                Ok(if timeless { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })
        })
    })?;
    Ok(timeless)
}
