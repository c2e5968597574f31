//! Builds what services are given, starts them, and ends them in one drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use contracts::CellId;
use contracts::bundle::{self, CellReport};
use contracts::claims::AUDIENCE_CELL;
use contracts::services::{
    ADMIN_PORT, GATEWAY, GLOBAL, ROUTER, SQL_BI_GATEWAY, ServiceDeclaration, named_by, spiffe_id,
};
use kit::admission::Admission;
use kit::config::CellConfig;
use kit::database::{Database, DatabaseAddress};
use kit::http::{Server, serve_plain};
use kit::inbox;
use kit::metrics::Metrics;
use kit::moving::{self, Settling};
use kit::peers::{PeerHttp, Peers};
use kit::placements::Placements;
use kit::service::{BucketEndpoint, Context, KafkaEndpoint, NatsEndpoint, Service, Surface};
use kit::tasks::{Policy, Tasks, asked_to_stop};
use kit::tls::{Identity, server_name};
use kit::token::Verifier;
use trace::{Exporter, Tracer};

use crate::admin::{self, Ready};
use crate::command::{Failure, drift};

/// Connections of one service to its database.
const DATABASE_CONNECTIONS: u32 = 8;
/// Migrations take one connection at a time.
const MIGRATION_CONNECTIONS: u32 = 2;
/// Longest wait at the end for the collector to take the last spans.
const SPANS_PATIENCE: Duration = Duration::from_secs(2);
/// How often the cell tells the global plane what it has applied.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Migrates the databases of `services`.
pub async fn migrate(config: &CellConfig, services: Vec<Box<dyn Service>>) -> Result<(), Failure> {
    for service in services {
        let Some(migrator) = service.migrator() else { continue };
        let declaration = service.declaration();
        let database = Database::connect_lazy(&database_address(config, declaration, MIGRATION_CONNECTIONS)?);
        database
            .migrate(&migrator)
            .await
            .map_err(|error| named(declaration, "its database cannot be migrated", error))?;
        database.pool().close().await;
        println!("{}: schema is current", declaration.name);
    }
    Ok(())
}

/// Serves until asked to stop or until a task that matters fails.
pub async fn serve(
    config: CellConfig,
    services: Vec<Box<dyn Service>>,
    admin: Option<SocketAddr>,
) -> Result<(), Failure> {
    let (tasks, mut failures) = Tasks::new();
    let (ready, metrics) = (Ready::default(), Metrics::default());
    let admin = admin.unwrap_or_else(|| SocketAddr::new(config.address, ADMIN_PORT));
    serve_plain(&tasks, "admin", admin, admin::router(ready.clone(), metrics.clone())).await?;
    let house = House::build(&config, &services, &tasks, metrics)?;
    let mut started = Vec::new();
    for service in &services {
        let own = tasks.part();
        house.start(service.as_ref(), &own).await?;
        started.push(own);
    }
    house.report_contracts(&services);
    ready.set();
    tracing::info!(cell = %config.cell, services = services.len(), "ready");
    let ended = tokio::select! {
        signal = asked_to_stop() => signal.map_err(Failure::from),
        failure = failures.next() => Err(failure.map_or_else(|| Failure::from("every task ended"), Failure::from)),
    };
    let drained = end(&tasks, started, Duration::from_secs(config.drain_seconds)).await;
    house.end_traces().await;
    tracing::info!(drained, "stopped");
    ended
}

/// Drains the services in the reverse of the order in which they started, so that each ends after those that call it;
/// then what they share. `false`: the time was over before.
async fn end(tasks: &Tasks, started: Vec<Tasks>, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    let left = || deadline.saturating_duration_since(Instant::now());
    for service in started.iter().rev() {
        service.drain(left()).await;
    }
    tasks.drain(left()).await
}

/// What all services of the process share.
struct House<'a> {
    config: &'a CellConfig,
    tasks: &'a Tasks,
    metrics: Metrics,
    admission: Arc<Admission>,
    exporter: Arc<Exporter>,
    global: PeerHttp,
}

impl<'a> House<'a> {
    fn build(
        config: &'a CellConfig,
        services: &[Box<dyn Service>],
        tasks: &'a Tasks,
        metrics: Metrics,
    ) -> Result<Self, Failure> {
        let first = services.first().ok_or("no service is selected")?.declaration();
        let identity = Identity::load(&config.identity.dir, first.name)?;
        let global = PeerHttp::new(&identity, &server_name(GLOBAL, GLOBAL), global_address(&config.global_url)?)?;
        let admission = Arc::new(Admission {
            verifier: Verifier::new(AUDIENCE_CELL),
            placements: Placements::new(config.cell.clone()),
        });
        // Processes of one cell that run apart keep their snapshots apart too.
        kit::feeds::follow(tasks, global.clone(), &config.data_dir.join(first.name), &admission)?;
        let exporter = Arc::new(Exporter::new(&config.telemetry, metrics.spans())?);
        Ok(Self { config, tasks, metrics, admission, exporter, global })
    }

    /// Starts a service; `tasks` are its own.
    async fn start(&self, service: &dyn Service, tasks: &Tasks) -> Result<(), Failure> {
        let declaration = service.declaration();
        let identity = Identity::load(&self.config.identity.dir, declaration.name)?;
        let tracer = self.exporter.tracer(declaration.name, self.config.cell.as_str())?;
        let context = self.context(service, tasks, identity.clone(), tracer.clone()).await?;
        let (database, settling) = (context.database.clone(), context.settling.clone());
        let mut surface = service.start(context).await.map_err(|error| named(declaration, "it cannot start", error))?;
        let moving = moving::router(&self.config.cell, database, service.tenant_tables(), settling);
        surface.http = moving.merge(surface.http);
        self.listen(service, tasks, identity, tracer, surface).await
    }

    async fn context(
        &self,
        service: &dyn Service,
        tasks: &Tasks,
        identity: Identity,
        tracer: Tracer,
    ) -> Result<Context, Failure> {
        let (config, declaration) = (self.config, service.declaration());
        let data_dir = config.data_dir.join(declaration.name);
        std::fs::create_dir_all(&data_dir)
            .map_err(|error| named(declaration, "its data folder cannot be made", error))?;
        let database = match service.migrator() {
            Some(migrator) => {
                let database = Database::connect_lazy(&database_address(config, declaration, DATABASE_CONNECTIONS)?);
                let checked = database.check_schema(&migrator).await;
                checked.map_err(|error| named(declaration, "its schema is not usable", error))?;
                check_tables(service, &database).await?;
                inbox::RETENTION.start(tasks, &database);
                Some(database)
            }
            None => None,
        };
        let secret = |suffix: &str| config.secrets.read(&format!("{}.{suffix}", declaration.name));
        let username = declaration.name.to_owned();
        let settings = config.services.get(declaration.name).and_then(|v| v.as_table()).cloned().unwrap_or_default();
        let is_entry = [GATEWAY, SQL_BI_GATEWAY].contains(&declaration.name);
        Ok(Context {
            service: declaration,
            cell: config.cell.clone(),
            data_dir,
            database,
            tasks: tasks.clone(),
            peers: Peers::new(identity, config.cell.clone(), config.address),
            kafka: KafkaEndpoint {
                bootstrap: config.kafka.bootstrap.clone(),
                username: username.clone(),
                password: optional(secret("kafka"))?,
            },
            nats: NatsEndpoint { url: config.nats.url.clone(), username, password: optional(secret("nats"))? },
            bucket: BucketEndpoint {
                endpoint: config.bucket.endpoint.clone(),
                region: config.bucket.region.clone(),
                name: config.bucket.name.clone(),
                access_key: config.bucket.access_key.clone(),
                secret: config.secrets.read("bucket.secret")?,
                role_arn: config.bucket.role_arn.clone(),
            },
            seal_key: config.secrets.read("seal.key")?,
            admission: is_entry.then(|| Arc::clone(&self.admission)),
            placements: Arc::clone(&self.admission.placements),
            settling: Settling::default(),
            metrics: self.metrics.clone(),
            tracer,
            settings,
        })
    }

    async fn listen(
        &self,
        service: &dyn Service,
        tasks: &Tasks,
        identity: Identity,
        tracer: Tracer,
        surface: Surface,
    ) -> Result<(), Failure> {
        let declaration = service.declaration();
        let server = |port: u16, tracer: Tracer| Server {
            service: declaration.name,
            address: SocketAddr::new(self.config.address, port),
            identity: identity.clone(),
            admits: admits(self.config, declaration),
            metrics: self.metrics.clone(),
            tracer,
        };
        let document = serde_json::to_string(&service.openapi())?;
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        let described = Router::new().route("/openapi.json", get(move || async move { (json, document) }));
        let http = if declaration.name == GATEWAY { surface.http } else { surface.http.merge(described) };
        server(declaration.http_port, tracer.clone()).start(tasks, http).await?;
        if let (Some(port), Some(flight)) = (declaration.flight_port, surface.flight) {
            server(port, tracer).start(tasks, flight).await?;
        }
        self.metrics.serves(declaration.name);
        Ok(())
    }

    /// The last spans leave after the last request.
    async fn end_traces(&self) {
        let exporter = Arc::clone(&self.exporter);
        if tokio::task::spawn_blocking(move || exporter.shutdown(SPANS_PATIENCE)).await.is_err() {
            tracing::warn!("the last spans were not sent");
        }
    }

    /// Tells the global plane which contracts this cell has applied. The plane may be away: the
    /// report is repeated, and nothing waits for it.
    fn report_contracts(&self, services: &[Box<dyn Service>]) {
        // One reporter a cell, also when its services run apart.
        if !services.iter().any(|s| s.declaration().name == GATEWAY) {
            return;
        }
        let (config, global, stopping) = (self.config.clone(), self.global.clone(), self.tasks.stopping());
        self.tasks.spawn("contract report", Policy::Once, async move {
            loop {
                if let Err(error) = report(&config, &global).await {
                    tracing::debug!(error = %kit::fault::chain(error.as_ref()), "contract report failed");
                }
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    () = tokio::time::sleep(REPORT_EVERY) => {}
                }
            }
        });
    }
}

async fn report(config: &CellConfig, global: &PeerHttp) -> Result<(), Failure> {
    let report = CellReport {
        contracts_version: bundle::VERSION,
        contracts_sha256: bundle::sha256(&bundle::canonical()),
        drift: drift(config).await?,
    };
    let path = format!("/internal/v1/cells/{}/report", config.cell);
    global.plain(axum::http::Method::POST, &path).json(&report).send().await?.error_for_status()?;
    Ok(())
}

/// A service that rides no bus has no password for it.
fn optional(read: Result<kit::Secret, kit::config::ConfigError>) -> Result<kit::Secret, Failure> {
    match read {
        Ok(secret) => Ok(secret),
        Err(kit::config::ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(kit::Secret::new(""))
        }
        Err(error) => Err(error.into()),
    }
}

/// Only the declared callers, by the SPIFFE id in their certificate.
fn admits(config: &CellConfig, service: &ServiceDeclaration) -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
    let part = |caller: &str| match caller {
        ROUTER | GLOBAL => caller.to_owned(),
        _ => config.cell.to_string(),
    };
    let own = |caller: &&&str| **caller == service.name;
    let allowed: Vec<String> =
        service.callers.iter().filter(|caller| !own(caller)).map(|caller| spiffe_id(&part(caller), caller)).collect();
    let everywhere = service.callers.iter().any(|caller| own(&caller)).then_some(service.name);
    Arc::new(move |peer| {
        allowed.iter().any(|id| id == peer) || everywhere.is_some_and(|name| is_of_some_cell(peer, name))
    })
}

fn is_of_some_cell(peer: &str, service: &str) -> bool {
    named_by(peer)
        .is_some_and(|(part, name)| name == service && ![ROUTER, GLOBAL].contains(&part) && CellId::new(part).is_ok())
}

/// A table of tenants that would stay behind when they move keeps its service from starting.
async fn check_tables(service: &dyn Service, database: &Database) -> Result<(), Failure> {
    let strange = moving::undeclared(database, service.tenant_tables()).await;
    let strange = strange.map_err(|error| named(service.declaration(), "its tables cannot be looked at", error))?;
    if strange.is_empty() {
        return Ok(());
    }
    let name = service.declaration().name;
    Err(format!("{name}: its declared tables of tenants are not those of its database: {}", strange.join(", ")).into())
}

fn database_address(
    config: &CellConfig,
    service: &ServiceDeclaration,
    max_connections: u32,
) -> Result<DatabaseAddress, Failure> {
    Ok(DatabaseAddress {
        host: config.postgres.host.parse().map_err(|_| "[postgres] host must be an IP address")?,
        port: config.postgres.port,
        service: service.name.to_owned(),
        password: config.secrets.read(&format!("{}.postgres", service.name))?,
        max_connections,
    })
}

fn global_address(url: &str) -> Result<SocketAddr, Failure> {
    let authority = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
    authority.parse().map_err(|_| Failure::from("global_url must be https://<ip>:<port>"))
}

fn named(service: &ServiceDeclaration, what: &str, error: impl std::error::Error) -> Failure {
    format!("{}: {what}: {}", service.name, kit::fault::chain(&error)).into()
}
