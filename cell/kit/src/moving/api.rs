//! What the cell's `tenant-move` asks of every service.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use axum::routing::{get, post, put};
use contracts::services::{TENANT_MOVE, spiffe_id};
use contracts::{CellId, Generation, TenantId};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::settling::{Outbox, Round, Settling, patiently};
use super::{Kept, MovingError, Part, TenantTable, kept, put_in, remove, take_out};
use crate::database::Database;
use crate::fault::Problem;
use crate::http::{Json, Peer, Query};
use crate::moving::Totals;

#[derive(Clone)]
struct Keeps(Arc<Inner>);

struct Inner {
    mover: String,
    database: Option<Database>,
    tables: &'static [TenantTable],
    settling: Settling,
    outbox: Option<Outbox>,
}

#[derive(Deserialize)]
struct At {
    generation: u64,
    #[serde(default)]
    part: Part,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    part: Part,
    /// What is known of kept rows ([`Kept`]), as JSON.
    known: Option<String>,
}

#[derive(Deserialize)]
struct Settle {
    round: Round,
}

/// A request of `tenant-move`, and the tenant it is about.
struct Asked {
    keeps: Arc<Inner>,
    tenant: TenantId,
}

impl FromRequestParts<Keeps> for Asked {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, keeps: &Keeps) -> Result<Self, Problem> {
        if parts.extensions.get::<Peer>().is_none_or(|peer| *peer.0 != *keeps.0.mover) {
            return Err(MovingError::NotTheMover.into());
        }
        let tenant = Path::<TenantId>::from_request_parts(parts, keeps).await;
        let Path(tenant) = tenant.map_err(|_| MovingError::NoTenant)?;
        Ok(Self { keeps: Arc::clone(&keeps.0), tenant })
    }
}

impl Inner {
    fn database(&self) -> Result<&Database, MovingError> {
        self.database.as_ref().ok_or(MovingError::NoRows)
    }
}

/// The routes, for the listener of a service of `cell`.
pub fn router(cell: &CellId, database: Option<Database>, tables: &'static [TenantTable], settling: Settling) -> Router {
    let (mover, outbox) = (spiffe_id(cell.as_str(), TENANT_MOVE), database.clone().map(Outbox));
    let keeps = Keeps(Arc::new(Inner { mover, database, tables, settling, outbox }));
    Router::new()
        .route("/internal/v1/moving/{tenant}/rows", get(rows).put(fill).delete(clear))
        .route("/internal/v1/moving/{tenant}/kept", get(last))
        .route("/internal/v1/moving/{tenant}/fence", put(fence))
        .route("/internal/v1/moving/{tenant}/settled", post(settle))
        .with_state(keeps)
}

async fn last(Asked { keeps, tenant }: Asked) -> Result<Json<Kept>, Problem> {
    Ok(Json(kept(keeps.database()?, keeps.tables, &tenant).await?))
}

async fn rows(Asked { keeps, tenant }: Asked, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let known = wanted.known.map_or(Ok(Kept::new()), |text| serde_json::from_str(&text));
    let known = known.map_err(|_| MovingError::Known)?;
    let rows = take_out(keeps.database()?, keeps.tables, &tenant, wanted.part, known).await?;
    let mut response = Response::new(Body::from_stream(rows));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn fill(Asked { keeps, tenant }: Asked, Query(at): Query<At>, body: Body) -> Result<Json<Totals>, Problem> {
    let rows = body.into_data_stream();
    Ok(Json(put_in(keeps.database()?, keeps.tables, &tenant, Generation(at.generation), at.part, rows).await?))
}

async fn clear(Asked { keeps, tenant }: Asked, Query(at): Query<At>) -> Result<StatusCode, Problem> {
    remove(keeps.database()?, keeps.tables, &tenant, Generation(at.generation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fence(Asked { keeps, tenant }: Asked, Query(at): Query<At>) -> Result<StatusCode, Problem> {
    super::fence(keeps.database()?, &tenant, Generation(at.generation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the service itself still does, then what it says to others.
async fn settle(Asked { keeps, tenant }: Asked, Query(Settle { round }): Query<Settle>) -> Result<StatusCode, Problem> {
    keeps.settling.settle(&tenant, round).await?;
    if let Some(outbox) = &keeps.outbox {
        patiently(outbox, &tenant, round).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
