//! Waiting until the service's groups have dealt with what is on their topics.

use std::time::Duration;

use async_trait::async_trait;
use contracts::TenantId;
use kit::moving::{Settles, Unsettled};

use crate::{BusError, DataBus};

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[async_trait]
impl Settles for DataBus {
    fn name(&self) -> String {
        "the data bus".to_owned()
    }

    /// Others' events are waited for too: they stand between the tenant's.
    async fn settle(&self, _tenant: &TenantId) -> Result<(), Unsettled> {
        let groups = self.groups.lock().clone();
        for (event, purpose) in groups {
            let meter = self.meter(&event, &purpose)?;
            let ends = meter.ends().await?;
            while !meter.has_passed(&ends).await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }
}

impl DataBus {
    /// Made once for each group: a meter has a connection of its own.
    fn meter(&self, event: &str, purpose: &str) -> Result<std::sync::Arc<crate::LagMeter>, BusError> {
        let mut meters = self.meters.lock();
        let key = (event.to_owned(), purpose.to_owned());
        if let Some(meter) = meters.get(&key) {
            return Ok(meter.clone());
        }
        let meter = std::sync::Arc::new(self.lag_meter(event, purpose)?);
        meters.insert(key, meter.clone());
        Ok(meter)
    }
}
