//! How long a plan is going to compute, as far as its tables tell beforehand.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

use crate::yielding::MULTIPLIERS;

/// Rows that are read and worked through within some milliseconds.
const FEW: usize = 50_000;

/// Whether the plan reads few rows and makes no more out of them. What does not tell how many it reads is long.
pub(crate) fn is_short(plan: &Arc<dyn ExecutionPlan>) -> bool {
    reads(plan).is_some_and(|rows| rows <= FEW)
}

/// Rows of all leaves; `None` if that says nothing about the plan.
fn reads(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if MULTIPLIERS.contains(&plan.name()) {
        return None;
    }
    let inputs = plan.children();
    if inputs.is_empty() {
        return plan.partition_statistics(None).ok()?.num_rows.get_value().copied();
    }
    inputs.into_iter().try_fold(0usize, |sum, input| sum.checked_add(reads(input)?))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    async fn is_short(sql: &str) -> bool {
        let plan = SessionContext::new().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        super::is_short(&plan)
    }

    #[tokio::test]
    async fn few_rows_are_short_and_what_multiplies_them_is_not() {
        assert!(is_short("select 1").await);
        assert!(is_short("select a, count(*) from (values (1), (2), (2)) t (a) where a > 1 group by a").await);
        assert!(!is_short("select unnest(make_array(1, 2, 3))").await);
        assert!(!is_short("select * from (values (1), (2)) a (x) cross join (values (1), (2)) b (y)").await);
        assert!(!is_short("select * from generate_series(1, 1000000000)").await);
    }
}
