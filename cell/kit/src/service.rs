//! What a service is to its host, and what the host gives it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::CellId;
use contracts::services::ServiceDeclaration;
use sqlx::migrate::Migrator;
use trace::Tracer;

use crate::Secret;
use crate::admission::Admission;
use crate::config::{Settings, SettingsError};
use crate::database::Database;
use crate::deliveries::Deliveries;
use crate::fault::{self, Fault};
use crate::metrics::{Metrics, OutboxLabels};
use crate::moving::{Settling, TenantTable};
use crate::outbox::{self, Publisher};
use crate::peers::Peers;
use crate::placements::Placements;
use crate::seal::Sealer;
use crate::tasks::Tasks;

/// A service could not start; the process ends with this line.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StartError {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StartError {
    /// `what` says what could not be done, for an operator.
    pub fn new(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }

    pub fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }
}

/// A fault says by itself what could not be done.
impl<F: Fault> From<F> for StartError {
    fn from(fault: F) -> Self {
        Self::plain(fault::chain(&fault))
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self::plain(error.to_string())
    }
}

/// What a service serves. The host puts the listeners, TLS, identity checks and logs around it.
#[derive(Debug)]
pub struct Surface {
    pub http: axum::Router,
    /// gRPC on the declared Flight port.
    pub flight: Option<axum::Router>,
}

/// One bounded service. `start` returns when it is ready to be called.
#[async_trait]
pub trait Service: Send + Sync {
    fn declaration(&self) -> &'static ServiceDeclaration;
    /// Migrations of its own database, if it has one.
    fn migrator(&self) -> Option<Migrator> {
        None
    }
    /// Its tables of tenants, parents before children: what leaves with a tenant that moves.
    fn tenant_tables(&self) -> &'static [TenantTable] {
        &[]
    }
    fn openapi(&self) -> utoipa::openapi::OpenApi;
    async fn start(&self, context: Context) -> Result<Surface, StartError>;
}

/// Kafka, as one service reaches it: SCRAM-SHA-512 over `SASL_PLAINTEXT`.
#[derive(Debug, Clone)]
pub struct KafkaEndpoint {
    pub bootstrap: String,
    pub username: String,
    pub password: Secret,
}

/// NATS, as one service reaches it.
#[derive(Debug, Clone)]
pub struct NatsEndpoint {
    pub url: String,
    pub username: String,
    pub password: Secret,
}

/// The cell's bucket.
#[derive(Debug, Clone)]
pub struct BucketEndpoint {
    pub endpoint: String,
    pub region: String,
    pub name: String,
    pub access_key: String,
    pub secret: Secret,
    /// Role to assume for credentials that reach one prefix only.
    pub role_arn: Option<String>,
}

/// Everything a service is given. Values, not globals: two services of one process share only
/// what is in here.
#[derive(Debug, Clone)]
pub struct Context {
    pub service: &'static ServiceDeclaration,
    pub cell: CellId,
    /// The service's own folder, made by the host.
    pub data_dir: PathBuf,
    pub database: Option<Database>,
    pub tasks: Tasks,
    pub peers: Peers,
    pub kafka: KafkaEndpoint,
    pub nats: NatsEndpoint,
    pub bucket: BucketEndpoint,
    /// 32 bytes in hex, the same in every process of the cell.
    pub seal_key: Secret,
    /// The fence; only the two entries admit anybody.
    pub admission: Option<Arc<Admission>>,
    /// Generation of each tenant of this cell, for jobs.
    pub placements: Arc<Placements>,
    /// What of this service works on after a request has been answered.
    pub settling: Settling,
    pub metrics: Metrics,
    pub tracer: Tracer,
    /// `[services.<name>]` of the configuration.
    pub settings: toml::Table,
}

impl Context {
    /// The service's own settings, checked; unknown keys are refused by `T`.
    pub fn settings<T: Settings>(&self) -> Result<T, StartError> {
        let wrong = |reason: &str| StartError::plain(format!("[services.{}]: {reason}", self.service.name));
        let read = toml::Value::Table(self.settings.clone()).try_into();
        let settings: T = read.map_err(|error: toml::de::Error| wrong(error.message()))?;
        settings.validate().map_err(|error| wrong(&error.to_string()))?;
        Ok(settings)
    }

    pub fn database(&self) -> Result<Database, StartError> {
        self.database.clone().ok_or_else(|| StartError::plain(format!("{} has no database", self.service.name)))
    }

    /// Hands the service's outbox to `bus` until the process stops.
    pub fn relay(&self, bus: impl Publisher + 'static) -> Result<(), StartError> {
        let stalled = self
            .metrics
            .outboxes
            .get_or_create_owned(&OutboxLabels { service: self.service.name, bus: bus.bus().name() });
        outbox::relay(&self.tasks, self.database()?, Arc::new(bus), stalled);
        Ok(())
    }

    /// For the buses this service takes events from.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries::new(self.service.name, self.tracer.clone(), self.metrics.deliveries.clone())
    }

    pub fn sealer(&self) -> Result<Sealer, StartError> {
        Sealer::new(&self.seal_key).map_err(|error| StartError::new("the seal key cannot be used", error))
    }

    pub fn admission(&self) -> Result<Arc<Admission>, StartError> {
        self.admission.clone().ok_or_else(|| StartError::plain(format!("{} is not an entry", self.service.name)))
    }
}
