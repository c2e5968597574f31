//! Puts the parts together and runs them until the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::watch;

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::config::{Config, ConfigError};
use crate::connection::Addresses;
use crate::decision::Rules;
use crate::fairness::Ledger;
use crate::feed::{Feeds, Source, SourceError, own_id};
use crate::handover::{Handover, HandoverError, Predecessor, Sockets};
use crate::knowledge::Knowledge;
use crate::listen::{Doors, ListenError, server_conf, socket};
use crate::metrics::Metrics;
use crate::names::Resolving;
use crate::proxy::{Arrivals, Peers, Shared, WaitingRoom, handshake};
use crate::retries::Retries;
use crate::shutdown::Drain;
use crate::tls::{Identity, Pair, TlsError};
use trace::{Exporter, TelemetryError};

/// Longest wait at the end for the collector to take the last spans.
const SPANS_PATIENCE: Duration = Duration::from_secs(2);

/// Why the router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("feeds: {0}")]
    Feeds(#[from] SourceError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("data_dir {path}: {source}")]
    Data { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("name servers: {0}")]
    Names(std::io::Error),
    #[error("cannot start the access log: {0}")]
    Log(std::io::Error),
}

/// Reads everything a start needs, without starting.
pub fn check(config: &Config) -> Result<(), StartError> {
    let identity = Identity::load(&config.identity.dir)?;
    Source::new(config, &identity)?;
    if config.listen.https.or(config.listen.flight_tls).is_some() {
        let (cert, key) = config.server_certificate();
        Pair::load(&cert, &key)?;
    }
    Ok(())
}

/// What the router knows before it has asked anyone: what its last run left on disk.
fn knowledge(config: &Config, metrics: Arc<Metrics>) -> Result<Arc<Knowledge>, StartError> {
    let knowledge = Knowledge::load(&config.data_dir, metrics)
        .map_err(|source| StartError::Data { path: config.data_dir.clone(), source })?;
    tracing::info!(
        version = knowledge.view().version(),
        unready = knowledge.unready(),
        "starting from what is on disk"
    );
    Ok(Arc::new(knowledge))
}

fn rules(config: &Config) -> Rules {
    Rules {
        global_hosts: config.global_hosts.clone(),
        tenant_suffix: format!(".{}", config.tenant_host_suffix),
        leeway: config.tokens.leeway_seconds,
        group: config.group.clone(),
    }
}

/// What every listener shares.
fn shared(
    config: &Config,
    identity: &Identity,
    knowledge: Arc<Knowledge>,
    (access_log, exporter): (AccessLog, &Exporter),
) -> Result<Arc<Shared>, StartError> {
    Ok(Arc::new(Shared {
        knowledge,
        rules: rules(config),
        limits: config.limits.clone(),
        ledger: Ledger::new(config.limits.concurrent_requests),
        allowance: config.limits.tenant.allowance(),
        peers: Peers::new(identity.cell_key(), &config.limits, config.global_address()?),
        waiting: WaitingRoom::new(config.limits.cell_wait(), handshake(identity.feed_config()?)),
        retries: Retries::default(),
        arrivals: Arrivals::new(config.limits.held_requests),
        in_flight: Arc::default(),
        access_log,
        tracer: exporter.tracer(contracts::services::ROUTER, "")?,
        begun: Instant::now(),
    }))
}

/// Runs until a signal ends it. Must own the main thread; must not be called inside a runtime.
pub fn run(config: Config) -> Result<(), StartError> {
    let config = Arc::new(config);
    let identity = Identity::load(&config.identity.dir)?;
    let metrics = Arc::new(Metrics::default());
    let knowledge = knowledge(&config, metrics.clone())?;
    let router =
        own_id(&config.data_dir).map_err(|source| StartError::Data { path: config.data_dir.clone(), source })?;

    let exporter = Exporter::new(&config.telemetry, metrics.spans.clone())?;
    let access_log = AccessLog::start(metrics).map_err(StartError::Log)?;
    let shared = shared(&config, &identity, knowledge.clone(), (access_log.clone(), &exporter))?;
    let in_flight = shared.in_flight.clone();
    let (ledger, begun) = (shared.ledger.clone(), shared.begun);
    let (closing, closed) = watch::channel(false);
    let (taken, given) = watch::channel(false);
    let (predecessor, inherited) = Predecessor::ask(&config.data_dir)?.unzip();
    let (open, opened) = watch::channel(predecessor.is_none());
    let mut inherited = inherited.unwrap_or_default();
    let mut held = Sockets::default();
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config, identity.ca_file()));
    let conf = server.configuration.clone();
    let addresses = Addresses::new(config.limits.connections_per_address);
    let doors = Doors { config: &config, conf: &conf, shared: &shared, closing: &closed, open: &opened, addresses };
    for door in doors.make(&mut inherited, &mut held)? {
        server.add_service(door);
    }
    let socket = Mutex::new(Some(socket("admin", config.listen.admin, &mut inherited, &mut held)?));
    server.add_service(background_service(
        "admin",
        Admin { shared, socket, closing: closed.clone(), taken: given.clone() },
    ));
    let handover = Handover {
        data_dir: config.data_dir.clone(),
        knowledge: knowledge.clone(),
        predecessor: Mutex::new(predecessor),
        sockets: Mutex::new(held),
        open,
        taken,
        closing: closed,
    };
    server.add_service(background_service("handover", handover));
    let source = Arc::new(Source::new(&config, &identity)?);
    let resolving = Resolving::new(knowledge.clone(), &config.discovery).map_err(StartError::Names)?;
    let feeds = Feeds { knowledge, source, config: config.clone(), ledger, begun, router, resolving };
    server.add_service(background_service("feeds", feeds));

    let drain = Drain { closing, taken: given, in_flight, deadline: Duration::from_secs(config.drain_seconds) };
    server.run(RunArgs { shutdown_signal: Box::new(drain) });
    access_log.flush();
    exporter.shutdown(SPANS_PATIENCE);
    Ok(())
}
