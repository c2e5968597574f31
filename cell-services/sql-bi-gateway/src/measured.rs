//! How long statements take.

use kit::metrics::Metrics;
use prometheus_client::metrics::histogram::Histogram;

use crate::domain::{Route, Run};

/// One histogram by where a statement ran; clones share them.
#[derive(Debug, Clone)]
pub struct Statements {
    edge: Histogram,
    pool: Histogram,
}

impl Statements {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            edge: metrics
                .latency("sql_edge_statement_duration_seconds", "Statements that read no table, to their last row"),
            pool: metrics
                .latency("sql_pool_statement_duration_seconds", "Statements that read tables, to their last row"),
        }
    }

    pub fn observe(&self, run: &Run) {
        let seconds = (run.finished_at - run.started_at).as_seconds_f64().max(0.0);
        match run.route {
            Route::Edge => self.edge.observe(seconds),
            Route::Pool => self.pool.observe(seconds),
        }
    }
}
