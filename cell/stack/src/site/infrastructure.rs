//! The servers of a site that are not ours, described from its settings.

use std::sync::Arc;

use futures::future::{BoxFuture, try_join_all};

use super::configuration;
use super::settings::{CellPlan, Layout, Settings};
use crate::ceph::{Bucket, Ceph};
use crate::driver::Driver;
use crate::error::Result;
use crate::kafka::Kafka;
use crate::nats::Nats;
use crate::parts::Tree;
use crate::postgres::{Database, Postgres};
use crate::process::Supervisor;
use crate::report::Reporter;
use crate::secrets::Secrets;

/// Databases of the global plane.
const GLOBAL_DATABASES: &[&str] = &["identity", "tenancy"];

/// Unpacked parts of a site.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    pub postgres: Tree,
    pub nats: Tree,
    pub ceph: Tree,
    pub kafka: Tree,
}

/// The drivers of one site.
pub(super) struct Infrastructure {
    pub ceph: Arc<Ceph>,
    pub global: Arc<Postgres>,
    pub cells: Vec<CellInfrastructure>,
}

pub(super) struct CellInfrastructure {
    pub plan: CellPlan,
    pub postgres: Arc<Postgres>,
    pub nats: Arc<Nats>,
    pub kafka: Arc<Kafka>,
    pub bucket: Arc<Bucket>,
}

impl Infrastructure {
    pub(super) fn describe(settings: &Settings, layout: &Layout, trees: &Trees) -> Result<Self> {
        let ceph = Ceph::new(&layout.ceph(), settings.addresses.ceph(), trees.ceph.clone());
        let databases = GLOBAL_DATABASES.iter().map(|name| Database::of_service(name)).collect();
        let secrets = Secrets::in_dir(&layout.global().join("secrets"))?;
        let dir = layout.global().join("postgres");
        let global =
            Postgres::new("global", &dir, settings.addresses.global(), databases, secrets, trees.postgres.clone());
        let cells =
            settings.cells.iter().map(|cell| CellInfrastructure::describe(settings, layout, trees, &ceph, cell));
        Ok(Self { global: Arc::new(global), cells: cells.collect::<Result<_>>()?, ceph: Arc::new(ceph) })
    }

    /// Every driver, in the order in which one needs another.
    pub(super) fn drivers(&self) -> Vec<Arc<dyn Driver>> {
        let mut drivers: Vec<Arc<dyn Driver>> = vec![self.ceph.clone(), self.global.clone()];
        for cell in &self.cells {
            drivers.extend([
                cell.postgres.clone() as Arc<dyn Driver>,
                cell.nats.clone(),
                cell.kafka.clone(),
                cell.bucket.clone(),
            ]);
        }
        drivers
    }

    /// Brings up everything at once; only buckets wait, for Ceph.
    pub(super) async fn apply(&self, supervisor: &Supervisor, reporter: &Reporter) -> Result<()> {
        let apply = |driver: Arc<dyn Driver>| -> BoxFuture<'_, Result<()>> {
            Box::pin(async move {
                let name = driver.name().to_owned();
                reporter.during(name, driver.apply(supervisor)).await
            })
        };
        let mut independent: Vec<BoxFuture<'_, Result<()>>> = vec![apply(self.global.clone())];
        for cell in &self.cells {
            independent.extend([apply(cell.postgres.clone()), apply(cell.nats.clone()), apply(cell.kafka.clone())]);
        }
        let storage = async {
            apply(self.ceph.clone()).await?;
            try_join_all(self.cells.iter().map(|cell| apply(cell.bucket.clone()))).await
        };
        futures::future::try_join(storage, try_join_all(independent)).await.map(|_| ())
    }
}

impl CellInfrastructure {
    fn describe(settings: &Settings, layout: &Layout, trees: &Trees, ceph: &Ceph, cell: &CellPlan) -> Result<Self> {
        let (dir, address) = (layout.cell(&cell.name), settings.addresses.cell(cell.number));
        let secrets = Secrets::in_dir(&dir.join("secrets"))?;
        // Tickets and page tokens of the whole cell are sealed with it.
        secrets.get_or_make("seal.key")?;
        let owners = contracts::services::SERVICES.iter().filter(|s| s.database);
        let databases = owners.map(|s| Database::of_service(s.name)).collect();
        let postgres = Postgres::new(
            &cell.name,
            &dir.join("postgres"),
            address,
            databases,
            secrets.clone(),
            trees.postgres.clone(),
        );
        let nats = Nats::new(
            &cell.name,
            &dir.join("nats"),
            address,
            Nats::users_of_a_cell(),
            secrets.clone(),
            trees.nats.clone(),
        );
        let kafka = Kafka::new(
            &cell.name,
            &dir.join("kafka"),
            address,
            Kafka::principals_of_a_cell(),
            secrets.clone(),
            trees.kafka.clone(),
        );
        let bucket = Bucket::new(&cell.name, &dir, ceph.clone(), settings.bucket_quota_bytes, &secrets)?;
        Ok(Self {
            plan: cell.clone(),
            postgres: Arc::new(postgres),
            nats: Arc::new(nats),
            kafka: Arc::new(kafka),
            bucket: Arc::new(bucket),
        })
    }

    pub(super) fn write_configuration(&self, settings: &Settings, layout: &Layout) -> Result<()> {
        configuration::write_cell(settings, layout, &self.plan, &self.kafka, &self.nats, &self.bucket)
    }
}
