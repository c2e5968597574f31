//! The HTTP surface: one pipeline for every path of the cell.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use contracts::services::{self, ServiceDeclaration};
use contracts::tiers::RequestLimits;
use contracts::{CellId, Generation, TenantId, headers};
use http::{HeaderValue, Method, StatusCode, header};
use kit::admission::{Admission, AdmitError};
use kit::fault::ProblemCode;
use kit::moving::UnderWay;
use kit::peers::Peers;
use kit::{Problem, Scope};
use serde::Serialize;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Settings;
use crate::domain::{self, OriginRule};
use crate::error::Error;
use crate::events::{Call, Recorder};
use crate::limits::{Leave, Left, Limits, RefusalSampler};
use crate::openapi::Documents;
use crate::{proxy, socket};

/// What every request needs.
pub struct Entry {
    pub cell: CellId,
    pub settings: Settings,
    pub admission: Arc<Admission>,
    /// Changes that are not over: waited for when their tenant leaves.
    pub under_way: Arc<UnderWay>,
    pub peers: Peers,
    pub limits: Limits,
    pub refusals: RefusalSampler,
    pub recorder: Recorder,
    pub documents: Documents,
}

/// The caller as this cell sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    pub tenant: TenantId,
    pub cell: CellId,
    pub generation: Generation,
    /// `user:<sub>`.
    pub actor: String,
    pub scopes: Vec<String>,
    pub request_id: String,
}

pub fn describe() -> utoipa::openapi::OpenApi {
    OpenApiRouter::<Arc<Entry>>::new().routes(routes!(me)).routes(routes!(openapi_document)).into_openapi()
}

pub fn router(entry: Arc<Entry>, origins: Vec<OriginRule>) -> Router {
    // Not a fallback: the host has its own, for the paths of other services.
    Router::new().route("/", any(handle)).route("/{*path}", any(handle)).layer(cors(origins)).with_state(entry)
}

fn cors(origins: Vec<OriginRule>) -> CorsLayer {
    let accepted =
        move |origin: &HeaderValue, _: &http::request::Parts| origins.iter().any(|rule| rule.accepts(origin));
    let exposed = ["ratelimit", "ratelimit-policy", headers::REQUEST_ID].map(http::HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(accepted))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            exposed
                .into_iter()
                .chain([header::ETAG, header::LOCATION, header::RETRY_AFTER, header::CONTENT_DISPOSITION])
                .collect::<Vec<_>>(),
        )
        .max_age(Duration::from_secs(600))
}

/// Who calls
#[utoipa::path(get, path = "/api/v1/me", tag = "gateway", responses((status = 200, body = Me), (status = 401), (status = 421)))]
async fn me(State(entry): State<Arc<Entry>>, scope: Scope) -> Json<Me> {
    Json(entry.me(&scope))
}

/// The API of this cell, as OpenAPI 3.1
#[utoipa::path(get, path = "/openapi.json", tag = "gateway", responses((status = 200, description = "An OpenAPI document"), (status = 401)))]
async fn openapi_document(State(entry): State<Arc<Entry>>, scope: Scope) -> Response {
    entry.documents.answer(&entry.peers, &scope).await
}

async fn handle(State(entry): State<Arc<Entry>>, request: Request) -> Response {
    let scope = match entry.admission.admit(request.headers()) {
        Ok(scope) => scope,
        Err(error) => {
            // The request itself cannot be kept across an await: its body is not shareable.
            let addressed = entry.addressed(&request);
            return entry.refuse(addressed, error).await;
        }
    };
    let call = Call { scope, method: request.method().clone(), path: request.uri().path().to_owned() };
    let request_id = HeaderValue::from_str(&call.scope.request_id);
    let (mut response, left) = entry.admitted(call, request).await;
    left.announce(response.headers_mut());
    if let Ok(id) = request_id {
        response.headers_mut().insert(headers::REQUEST_ID, id);
    }
    response
}

/// Where a request leads.
enum Target {
    Me,
    Documents,
    Service(&'static ServiceDeclaration),
}

impl Entry {
    fn me(&self, scope: &Scope) -> Me {
        Me {
            tenant: scope.tenant.clone(),
            cell: self.cell.clone(),
            generation: scope.generation,
            actor: scope.actor.to_string(),
            scopes: scope.scopes.split_whitespace().map(str::to_owned).collect(),
            request_id: scope.request_id.clone(),
        }
    }

    /// Limits, routes and records a request whose caller is known.
    async fn admitted(&self, call: Call, request: Request) -> (Response, Left) {
        let tier =
            request.headers().get(headers::LIMITS).and_then(|limits| RequestLimits::parse(limits.to_str().ok()?));
        let leave = match self.limits.enter(&call.scope.tenant, tier) {
            Ok(leave) => leave,
            Err((refusal, left)) => {
                let response = problem(Error::from(refusal));
                // A flood of refusals must not become a flood of inserts.
                if let Some(left_out) = self.refusals.record(&call.scope.tenant) {
                    self.recorder.note(&call, response.status(), code(&response), left_out).await;
                }
                return (response, left);
            }
        };
        let left = leave.left.clone();
        if domain::is_safe(&call.method) {
            let response = self.answer(&call.scope, request, leave).await;
            if domain::is_recorded(&call.method, response.status()) {
                self.recorder.note(&call, response.status(), code(&response), 0).await;
            }
            return (response, left);
        }
        let scope = call.scope.clone();
        let _change = self.under_way.begin(&scope.tenant);
        // Again, now that it is counted: its tenant may have begun to leave in between.
        if let Err(error) = self.admission.placements.admit(&scope.tenant, &self.cell, scope.generation) {
            return (problem(Error::from(AdmitError::from(error))), left);
        }
        let pending = match self.recorder.reserve(call) {
            Ok(pending) => pending,
            Err(error) => return (problem(error), left),
        };
        let response = self.answer(&scope, request, leave).await;
        self.recorder.finish(pending, response.status(), code(&response)).await;
        (response, left)
    }

    async fn answer(&self, scope: &Scope, request: Request, leave: Leave) -> Response {
        match self.target(&request) {
            Err(error) => problem(error),
            Ok(Target::Me) => Json(self.me(scope)).into_response(),
            Ok(Target::Documents) => self.documents.answer(&self.peers, scope).await,
            Ok(Target::Service(service)) => {
                let (request, socket) = socket::asked_for(request).await;
                let answer = self.forward(service, scope, request, leave).await.unwrap_or_else(problem);
                match socket {
                    Some(socket) => socket::accept(socket, answer),
                    None => answer,
                }
            }
        }
    }

    fn target(&self, request: &Request) -> Result<Target, Error> {
        let path = request.uri().path();
        if !domain::path_is_sound(path) {
            return Err(Error::Path);
        }
        match path {
            "/api/v1/me" if request.method() == Method::GET => Ok(Target::Me),
            "/openapi.json" if request.method() == Method::GET => Ok(Target::Documents),
            _ => services::for_path(path).map(Target::Service).ok_or(Error::NoRoute),
        }
    }

    async fn forward(
        &self,
        service: &'static ServiceDeclaration,
        scope: &Scope,
        request: http::Request<Body>,
        leave: Leave,
    ) -> Result<Response, Error> {
        let peer = self.peers.http(service.name)?;
        proxy::forward(&self.settings, service.name, &peer, scope, request, leave).await
    }

    /// Answers a request whose caller is not known, and records it in the log of the tenant it
    /// was addressed to if that tenant lives here.
    async fn refuse(&self, addressed: Option<Call>, error: AdmitError) -> Response {
        let response = problem(Error::from(error));
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && let Some(call) = addressed
            && let Some(left_out) = self.refusals.record(&call.scope.tenant)
        {
            self.recorder.note(&call, status, code(&response), left_out).await;
        }
        response
    }

    /// The call and the tenant it was addressed to, on the router's word, if this cell serves it.
    fn addressed(&self, request: &Request) -> Option<Call> {
        fn read<T: std::str::FromStr>(request: &Request, name: &str) -> Option<T> {
            request.headers().get(name)?.to_str().ok()?.parse().ok()
        }
        let tenant: TenantId = read(request, headers::TENANT)?;
        let cell: CellId = read(request, headers::CELL)?;
        let generation: Generation = read(request, headers::GENERATION)?;
        self.admission.placements.admit(&tenant, &cell, generation).ok()?;
        let mut scope = Scope::of_service(services::GATEWAY, tenant, generation);
        if let Some(id) = read::<String>(request, headers::REQUEST_ID) {
            scope.request_id = id;
        }
        Some(Call { scope, method: request.method().clone(), path: request.uri().path().to_owned() })
    }
}

fn problem(error: Error) -> Response {
    Problem::from(error).into_response()
}

fn code(response: &Response) -> Option<&'static str> {
    response.extensions().get::<ProblemCode>().map(|code| code.0)
}
