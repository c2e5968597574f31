//! The operators' port: health, readiness, metrics, and why a host leads where it leads.

use std::net::TcpListener;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use contracts::TenantId;
use contracts::shares::WHOLE;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::json;
use tokio::sync::watch;

use crate::names::Names;
use crate::proxy::Shared;
use crate::table::{At, Gate, Surface};
use crate::target::{host_of, is_address};

/// Serves the admin port on a socket bound before.
pub struct Admin {
    pub shared: Arc<Shared>,
    pub socket: Mutex<Option<TcpListener>>,
    pub closing: watch::Receiver<bool>,
    /// A successor answers here.
    pub taken: watch::Receiver<bool>,
}

#[derive(Clone)]
struct Seen {
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let Some(socket) = self.socket.lock().take() else { return };
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin port cannot be served"),
        };
        // Not ended by the drain: its progress is watched here until the process is gone.
        let mut taken = self.taken.clone();
        let served = axum::serve(listener, routes(self.shared.clone(), self.closing.clone())).into_future();
        tokio::select! {
            ended = served => if let Err(error) = ended {
                tracing::error!(%error, "the admin port failed");
            },
            Ok(_) = taken.wait_for(|taken| *taken) => {}
        }
    }
}

fn routes(shared: Arc<Shared>, closing: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/routes", get(overview))
        .route("/routes/{host}", get(explain))
        .with_state(Seen { shared, closing })
}

async fn ready(State(seen): State<Seen>) -> Response {
    let reason = if *seen.closing.borrow() { Some("draining") } else { seen.shared.knowledge.unready() };
    match reason {
        None => (StatusCode::OK, "ready\n".to_owned()).into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(seen): State<Seen>) -> Response {
    let Shared { knowledge, in_flight, ledger, .. } = &*seen.shared;
    let (metrics, view) = (&knowledge.metrics, knowledge.view());
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.table_version.set(i64::try_from(view.version()).unwrap_or(i64::MAX));
    metrics.table_tenants.set(i64::try_from(view.tenants()).unwrap_or(i64::MAX));
    metrics.table_age.set(knowledge.age().map_or(-1.0, |age| age as f64));
    metrics.keys.set(whole(knowledge.keys().map_or(0, |keys| keys.len())));
    metrics.revoked.set(whole(knowledge.revoked().len()));
    metrics.key_cards.set(whole(knowledge.cards().len()));
    metrics.in_flight.set(whole(in_flight.requests()));
    metrics.connections.set(whole(in_flight.connections()));
    metrics.limited_tenants.set(whole(ledger.tenants()));
    let shares = knowledge.shares();
    metrics.shared_tenants.set(whole(shares.named().len()));
    metrics.even_share.set(ratio(shares.rest()));
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Where a gate is entered, and by what name.
fn entered(gate: &Gate, names: &Names) -> serde_json::Value {
    let (at, addresses) = match &gate.at {
        At::Address(address) => (address.to_string(), Vec::new()),
        At::Name(name, port) => (format!("{name}:{port}"), names.of(name).to_vec()),
    };
    json!({ "address": at, "leadsTo": addresses, "name": gate.name() })
}

/// Of millionths.
fn ratio(share: u32) -> f64 {
    f64::from(share) / f64::from(WHOLE)
}

async fn overview(State(seen): State<Seen>) -> Json<serde_json::Value> {
    let knowledge = &seen.shared.knowledge;
    let view = knowledge.view();
    Json(json!({
        "version": view.version(),
        "tenants": view.tenants(),
        "cells": view.cells().collect::<Vec<_>>(),
        "feedHeardSecondsAgo": knowledge.age(),
        "keys": knowledge.keys().map_or(0, |keys| keys.len()),
        "revokedSessions": knowledge.revoked().len(),
        "keyCards": knowledge.cards().len(),
        "unready": knowledge.unready(),
    }))
}

/// Which rule takes a host where; for a host placed by its token, which rule that is.
async fn explain(State(seen): State<Seen>, Path(asked): Path<String>) -> Response {
    let Shared { knowledge, rules, .. } = &*seen.shared;
    let Some(host) = host_of(asked.as_bytes()) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "host": asked, "rule": "not a host" }))).into_response();
    };
    let view = knowledge.view();
    let decision = if rules.global_hosts.contains(&host) {
        json!({ "rule": "global host", "to": "global", "flight": "placed by token" })
    } else if let Some(route) = view.by_host(&host).and_then(|seat| view.route(&TenantId::new(seat.tenant).ok()?)) {
        let address = |surface| view.gate(&route.cell, surface).map(|gate| entered(gate, &knowledge.names()));
        json!({
            "rule": "tenant host", "to": "cell", "tenant": route.tenant, "cell": route.cell,
            "generation": route.generation, "hosts": route.hosts, "tier": route.tier,
            "groups": view.groups().of(route.tenant.as_str()),
            "limits": view.tiers().find(|tier| tier.tier == route.tier), "share": ratio(knowledge.share_of(&route.tenant)),
            "http": address(Surface::Http), "flight": address(Surface::Flight),
        })
    } else if host.ends_with(&rules.tenant_suffix) && !is_address(&host) {
        json!({ "rule": "names no tenant", "to": "404" })
    } else {
        json!({ "rule": "placed by the verified token's tenant", "to": "cell, or 404 without a token" })
    };
    Json(json!({ "host": host, "tableVersion": view.version(), "decision": decision })).into_response()
}
