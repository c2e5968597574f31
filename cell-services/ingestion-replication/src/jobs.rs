//! What the service does without being asked.

use std::sync::Arc;
use std::time::Duration;

use event_bus_data::LagMeter;
use kit::metrics::Metrics;
use kit::tasks::Tasks;

const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// Keeps the cell's lag in sight of whoever watches its metrics.
pub fn measure_lag(tasks: &Tasks, metrics: &Metrics, meter: &Arc<LagMeter>) {
    let records = metrics.gauge("sink_lag_records", "Records of the topic that the sink has not dealt with yet");
    tasks.every("lag", MEASURE_EVERY, &(Arc::clone(meter), records), |(meter, records)| async move {
        records.set(meter.lag().await?);
        Ok::<(), event_bus_data::BusError>(())
    });
}
