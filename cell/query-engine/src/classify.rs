//! Reading the bound plan: what it would do. Never the text: a plan cannot hide a change in a
//! comment, a CTE or an EXPLAIN.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use crate::catalog::is_settings;
use crate::{Error, Result};

/// Refuses a plan that would change anything: data, schema, session or files.
pub(crate) fn require_read_only(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        refused = match node {
            LogicalPlan::Ddl(ddl) => Some(ddl.name().to_owned()),
            LogicalPlan::Dml(dml) => Some(dml.op.name().to_owned()),
            LogicalPlan::Copy(_) => Some("COPY".to_owned()),
            LogicalPlan::Statement(statement) => Some(statement.name().to_owned()),
            LogicalPlan::TableScan(scan) if is_settings(&scan.table_name) => Some("reading settings".to_owned()),
            _ => None,
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refused.map_or(Ok(()), |what| Err(Error::ReadOnly(what)))
}
