//! Serving: one mTLS port for routers and cells, one plain port for operators.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use contracts::services::GLOBAL;
use http::StatusCode;
use kit::http::{Json, Server, serve_plain};
use kit::metrics::Metrics;
use kit::tasks::{Tasks, asked_to_stop};
use kit::tls::Identity as Certificate;
use tokio_util::sync::CancellationToken;
use trace::Exporter;

use crate::access;
use crate::command::Failure;
use crate::config::Config;
use crate::openapi;
use crate::plane::{Databases, Plane};

/// No request of this plane is larger.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest wait at the end for the collector to take the last spans.
const SPANS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a starting process waits to be elected before it serves without being the writer.
const ELECTION: Duration = Duration::from_secs(3);

fn router(plane: &Plane, stopping: CancellationToken) -> Router {
    let described = openapi::document();
    let clients = Router::new()
        .merge(identity::router(plane.identity.clone()))
        .merge(tenancy::router(plane.tenancy.clone()))
        .layer(from_fn_with_state(plane.identity.clone(), identity::authenticate))
        .route("/openapi.json", get(move || async move { Json(described) }));
    let feeds = Router::new()
        .merge(identity::internal_router(plane.identity.clone()))
        .merge(tenancy::internal_router(plane.tenancy.clone()))
        .layer(from_fn_with_state(stopping, access::guard_feeds));
    clients.merge(feeds).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).layer(from_fn(harden))
}

/// Answers are for the caller alone and are never framed or sniffed by a browser.
async fn harden(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    headers.insert(http::header::REFERRER_POLICY, http::HeaderValue::from_static("no-referrer"));
    response
}

fn admin(plane: &Plane, databases: &Databases, metrics: Metrics) -> Router {
    let (identity, pool) = (plane.identity.clone(), databases.tenancy.clone());
    let ready = move || {
        let (identity, pool) = (identity.clone(), pool.clone());
        async move {
            let answers = identity.ready() && pool.acquire().await.is_ok();
            if answers { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.text() }))
}

/// Refuses a database that this build's migrations have not been run on.
async fn check_schema(databases: &Databases) -> Result<(), Failure> {
    let ready = identity::Identity::migrated(&databases.identity).await?
        && tenancy::Tenancy::migrated(&databases.tenancy).await?;
    if ready { Ok(()) } else { Err("the databases are behind this build: run `global migrate` first".into()) }
}

pub async fn serve(config: &Config) -> Result<(), Failure> {
    std::fs::create_dir_all(&config.data_dir)?;
    let databases = Databases::connect(config)?;
    check_schema(&databases).await?;
    let plane = Plane::assemble(config, &databases)?;
    let certificate = Certificate::load(&config.identity.dir, GLOBAL)?;
    let (tasks, mut failures) = Tasks::new();
    plane.identity.start(&tasks).await?;
    plane.tenancy.start(&tasks).await?;
    plane.tenancy.lead(&tasks, Arc::new(tenancy::Movers::new(certificate.clone(), databases.tenancy.clone())));
    if !plane.tenancy.elected(ELECTION).await {
        tracing::info!("another process is the writer; this one serves everything else");
    }
    let metrics = Metrics::default();
    let served = metrics.clone();
    let exporter = Arc::new(Exporter::new(&config.telemetry, metrics.spans())?);
    let server = Server {
        service: GLOBAL,
        address: config.listen(),
        identity: certificate,
        admits: access::admits(),
        metrics: metrics.clone(),
        tracer: exporter.tracer(GLOBAL, "")?,
    };
    server.start(&tasks, router(&plane, tasks.stopping())).await?;
    serve_plain(&tasks, "global: operators", config.admin(), admin(&plane, &databases, metrics)).await?;
    served.serves(GLOBAL);
    tracing::info!(address = %config.listen(), admin = %config.admin(), "the global plane serves");
    let failure = tokio::select! {
        asked = asked_to_stop() => { asked?; None }
        failure = failures.next() => failure,
    };
    let drained = tasks.drain(Duration::from_secs(config.drain_seconds)).await;
    if !drained {
        tracing::warn!(seconds = config.drain_seconds, "some work did not end in time");
    }
    databases.close().await;
    if tokio::task::spawn_blocking(move || exporter.shutdown(SPANS_PATIENCE)).await.is_err() {
        tracing::warn!("the last spans were not sent");
    }
    match failure {
        Some(failure) => Err(Box::new(failure)),
        None => Ok(()),
    }
}
