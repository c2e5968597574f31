//! Against a real Postgres: what the pure tests of `domain` cannot show.

mod draining;
mod feed;
mod groups;
mod model;
mod moves;
mod placement;
mod registry;
mod simulation;
mod tiers;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use contracts::claims::{AUDIENCE_GLOBAL, ISSUER};
use contracts::routing::Table;
use contracts::{CellId, Claims, TenantId, TierId};
use kit::tasks::{Failures, Tasks};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use crate::domain::access::Caller;
use crate::domain::placement::{CellKind, CellState};
use crate::ops::cells::{self, Registration};
use crate::ops::tenants::Birth;
use crate::ops::{organisations, tenants};
use crate::store::tenants::Tenant;
use crate::store::{self, routing};
use crate::{Error, Settings, Signature, Signer, Tenancy};

pub type Done = anyhow::Result<()>;

/// Says which document it was given, so that a test can see what was signed.
struct Notary;

impl Signer for Notary {
    fn sign(&self, document: &[u8]) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Signature { kid: "k1".into(), signature: digest(document) })
    }
}

fn digest(document: &[u8]) -> String {
    hex::encode(Sha256::digest(document))
}

/// A running process of the service; others may be started on the same database.
pub struct Process {
    pub tenancy: Tenancy,
    pub tasks: Tasks,
    _failures: Failures,
}

pub async fn database() -> anyhow::Result<PgPool> {
    Ok(testkit::database(&crate::MIGRATOR).await?.pool().clone())
}

pub async fn start(pool: &PgPool) -> anyhow::Result<Process> {
    start_with(pool, Settings::default()).await
}

pub async fn start_with(pool: &PgPool, settings: Settings) -> anyhow::Result<Process> {
    let tenancy = Tenancy::new(pool.clone(), settings, Arc::new(Notary));
    let (tasks, failures) = Tasks::new();
    tenancy.start(&tasks).await?;
    Ok(Process { tenancy, tasks, _failures: failures })
}

/// An elected process with a shared and a dedicated cell and two organisations.
pub async fn site() -> anyhow::Result<Process> {
    let process = start(&database().await?).await?;
    anyhow::ensure!(process.tenancy.elected(Duration::from_secs(60)).await, "not elected");
    for organisation in ["acme-corp", "globex-corp"] {
        organisations::create(&process.tenancy, &platform(), organisation, organisation).await?;
    }
    put_cell(&process.tenancy, "shared-1", 1, CellKind::Shared).await?;
    put_cell(&process.tenancy, "dedicated-1", 2, CellKind::Dedicated).await?;
    Ok(process)
}

fn bearer(scp: &str, org: Option<&str>) -> Caller {
    Caller::from_claims(&Claims {
        iss: ISSUER.into(),
        sub: "tester".into(),
        tid: None,
        org: org.map(str::to_owned),
        scp: scp.into(),
        grp: vec![],
        mrk: vec![],
        sid: "s".into(),
        aud: AUDIENCE_GLOBAL.into(),
        iat: 0,
        exp: 0,
        jti: "j".into(),
    })
}

pub fn platform() -> Caller {
    bearer("platform:admin", None)
}

pub fn admin_of(organisation: &str) -> Caller {
    bearer("organisation:admin", Some(organisation))
}

pub fn member_of(organisation: &str) -> Caller {
    bearer("", Some(organisation))
}

pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub fn cell(name: &str) -> CellId {
    CellId::new(name).unwrap()
}

pub fn registration(number: u8, kind: CellKind) -> Registration {
    Registration {
        http: format!("127.0.2.{number}:8080"),
        flight: format!("127.0.2.{number}:50133"),
        door: None,
        kind,
        organisation: None,
        state: None,
        capacity: None,
        region: None,
    }
}

pub async fn put_cell(tenancy: &Tenancy, name: &str, number: u8, kind: CellKind) -> Done {
    cells::put(tenancy, &platform(), &cell(name), &registration(number, kind), false).await?;
    Ok(())
}

pub fn born<'a>(organisation: &'a str, cell: Option<&'a str>, tier: Option<&'a TierId>) -> Birth<'a> {
    Birth { organisation, cell, tier, ..Birth::default() }
}

pub async fn create(tenancy: &Tenancy, name: &str, organisation: &str) -> Result<Tenant, Error> {
    tenants::create(tenancy, &platform(), &tenant(name), born(organisation, None, None)).await.map(|(tenant, _)| tenant)
}

/// The routing table as it is, and every cell's count of tenants as it should be.
pub async fn snapshot(pool: &PgPool) -> anyhow::Result<Table> {
    let (counted,): (bool,) = sqlx::query_as(
        "select coalesce(bool_and(c.tenants = (select count(*) from tenants t where t.cell = c.id)), true) from cells c",
    )
    .fetch_one(pool)
    .await?;
    anyhow::ensure!(counted, "a cell's tenants are not counted right");
    let mut db = kit::database::begin(pool).await?;
    let (version, removed) = routing::hold_still(&mut db).await?;
    let mut table = Table { version, removed, ..Table::default() };
    table.groups.ids = store::groups::ids(&mut db).await?;
    let (cells, tiers) = (routing::cells(&mut db).await?, store::tiers::list(&mut db, None, None, i64::MAX).await?);
    table.cells.extend(cells.into_iter().map(|endpoint| (endpoint.cell.clone(), endpoint)));
    table.tiers.extend(tiers.into_iter().map(|tier| (tier.tier.clone(), tier)));
    let routes = routing::routes(&mut db, "", i64::MAX).await?;
    table.routes.extend(routes.into_iter().map(|route| (route.tenant.clone(), route)));
    table.validate()?;
    Ok(table)
}

/// The table a reader gets that follows the log from its beginning.
pub async fn replay(pool: &PgPool) -> anyhow::Result<Table> {
    let mut table = Table::default();
    for (version, change) in routing::after(&mut *pool.acquire().await?, 0, i64::MAX).await? {
        table.apply(version, &change)?;
    }
    Ok(table)
}
