//! A statement must stop when it is told to, also in the middle of a join.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Operators that make many rows out of few. The engine lets a task yield where its leaves are
/// read; between two reads such an operator can run for hours.
pub(crate) const MULTIPLIERS: [&str; 6] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "PiecewiseMergeJoinExec",
    "UnnestExec",
];

/// Lets a task yield at what a multiplying operator puts out, so that a deadline, a cancellation or
/// a reader that went away takes effect within a few batches.
#[derive(Debug)]
pub(crate) struct YieldAfterMultipliers;

impl PhysicalOptimizerRule for YieldAfterMultipliers {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match MULTIPLIERS.contains(&node.name()) {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)),
            false => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "YieldAfterMultipliers"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
