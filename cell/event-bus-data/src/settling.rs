//! Waiting until the service's groups have dealt with what is on their topics.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use futures::future::try_join_all;
use kit::moving::{Round, Settles, Unsettled};

use crate::{BusError, DataBus, LagMeter};

#[async_trait]
impl Settles for DataBus {
    fn name(&self) -> String {
        "the data bus".to_owned()
    }

    /// Others' events are waited for too: they stand between the tenant's.
    async fn settle(&self, _tenant: &TenantId, _: Round) -> Result<(), Unsettled> {
        let passed = self.meters()?.into_iter().map(|meter| async move { meter.passes(&meter.open().await?).await });
        Ok(try_join_all(passed).await.map(drop)?)
    }
}

impl DataBus {
    /// Of every group that stores events. Each is made once: a meter has a connection of its own.
    fn meters(&self) -> Result<Vec<Arc<LagMeter>>, BusError> {
        let mut groups = self.groups.lock();
        let all = groups.iter_mut().map(|((event, purpose), meter)| match meter {
            Some(meter) => Ok(Arc::clone(meter)),
            None => Ok(Arc::clone(meter.insert(Arc::new(self.lag_meter(event, purpose)?)))),
        });
        all.collect()
    }
}
