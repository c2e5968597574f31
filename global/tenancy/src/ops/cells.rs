//! Cells: registered by the platform's administrators, reported on by themselves.

use contracts::CellId;
use contracts::bundle::CellReport;
use contracts::routing::{CellEndpoint, Change};
use contracts::services::{GLOBAL, ROUTER};
use sqlx::PgConnection;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::placement::{CellKind, CellState, is_endpoint};
use crate::error::Error;
use crate::ops::{check_word, log};
use crate::store::cells::{self, Cell, CellStatus};
use crate::store::{drains, organisations, routing};

/// A report with more or longer findings is cut by the cell, not by us.
const MAX_FINDINGS: usize = 1000;
const MAX_FINDING_BYTES: usize = 2000;

/// What an administrator says about a cell; `None` keeps what is stored.
#[derive(Debug, Clone)]
pub struct Registration {
    pub http: String,
    pub flight: String,
    /// Where TLS of its tenants' own domains ends, if not at the routers; nowhere else if it is empty.
    pub door: Option<String>,
    pub kind: CellKind,
    pub organisation: Option<String>,
    pub state: Option<CellState>,
    /// Tenants it takes at most; 0 = no limit.
    pub capacity: Option<u32>,
    pub region: Option<String>,
}

fn endpoint(cell: &Cell) -> Result<CellEndpoint, Error> {
    let id = CellId::new(cell.id.clone()).map_err(routing::ill_formed)?;
    Ok(CellEndpoint { cell: id, http: cell.http.clone(), flight: cell.flight.clone(), door: cell.door.clone() })
}

/// What the cell will be, or why it cannot be that.
fn merge(id: &CellId, old: Option<&Cell>, new: &Registration, tenants: i64) -> Result<Cell, Error> {
    if !is_endpoint(&new.http) || !is_endpoint(&new.flight) {
        return Err(Error::Invalid("http and flight are an IP address or a name, and a port"));
    }
    if new.door.as_deref().is_some_and(|door| !door.is_empty() && !is_endpoint(door)) {
        return Err(Error::Invalid("door is an IP address or a name, and a port"));
    }
    new.region.as_deref().map_or(Ok(()), check_word)?;
    if new.kind == CellKind::Shared && new.organisation.is_some() {
        return Err(Error::Invalid("a shared cell belongs to no organisation"));
    }
    if old.is_some_and(|o| o.kind != new.kind.name()) {
        return Err(Error::Placement("a cell's kind does not change"));
    }
    let owner = old.and_then(|o| o.organisation.clone());
    if tenants > 0 && new.organisation.is_some() && new.organisation != owner {
        return Err(Error::Placement("the cell has another organisation's tenants"));
    }
    let before = old.map(Cell::state).transpose()?;
    let state = new.state.or(before).unwrap_or(CellState::Serving);
    if before.is_some_and(|before| !before.may_become(state, tenants)) {
        return Err(Error::Placement(
            "a cell is requested only when it is new, and retired when it is empty, for good",
        ));
    }
    Ok(Cell {
        id: id.to_string(),
        http: new.http.clone(),
        flight: new.flight.clone(),
        door: new.door.clone().or_else(|| old.and_then(|o| o.door.clone())).filter(|door| !door.is_empty()),
        kind: new.kind.name().to_owned(),
        organisation: new.organisation.clone().or(owner),
        state: state.name().to_owned(),
        capacity: new.capacity.map(i64::from).or(old.map(|o| o.capacity)).unwrap_or_default(),
        region: new.region.clone().or_else(|| old.and_then(|o| o.region.clone())),
    })
}

/// Registers or changes a cell. The log grows only when its address does change, so a site may say
/// the same at every start. `create` refuses a cell that exists.
pub async fn put(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &CellId,
    new: &Registration,
    create: bool,
) -> Result<CellStatus, Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    // A cell's certificates bear its name: this one's would be the router's or the plane's own.
    if [GLOBAL, ROUTER].contains(&id.as_str()) {
        return Err(Error::Invalid("the id is a name of the platform's own"));
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    if let Some(organisation) = &new.organisation {
        organisations::find(&mut db, organisation).await?.ok_or(Error::Invalid("the organisation does not exist"))?;
    }
    let old = cells::lock(&mut db, id.as_str()).await?;
    if create && old.is_some() {
        return Err(Error::Exists("cell"));
    }
    if new.state.is_some() && drains::under_way_of(&mut db, id.as_str()).await?.is_some() {
        return Err(Error::Draining);
    }
    let tenants = cells::tenants_in(&mut db, id.as_str()).await?;
    let cell = merge(id, old.as_ref(), new, tenants)?;
    if old.as_ref() != Some(&cell) {
        cells::upsert(&mut db, &cell).await?;
    }
    let mut head = None;
    if let Some(change) = told(old.as_ref(), &cell)? {
        head = Some(routing::append(&mut db, &change, &[], &caller.subject).await?);
    }
    let status = cells::list(&mut db, None, Some(id.as_str()), None, 1).await?.pop().ok_or(Error::NotFound("cell"))?;
    db.commit().await?;
    head.into_iter().for_each(|head| tenancy.heard(head));
    Ok(status)
}

/// What routers hear of it, if anything.
fn told(old: Option<&Cell>, new: &Cell) -> Result<Option<Change>, Error> {
    let was_there = old.map(Cell::state).transpose()?.is_some_and(|state| state != CellState::Retired);
    if new.state()? == CellState::Retired {
        return Ok(was_there.then_some(Change::CellRemoved { cell: endpoint(new)?.cell }));
    }
    let stays = old.is_some_and(|o| (&o.http, &o.flight, &o.door) == (&new.http, &new.flight, &new.door));
    Ok(if stays { None } else { Some(Change::CellUpserted { endpoint: endpoint(new)? }) })
}

/// The first tenant of a dedicated cell makes it its organisation's.
pub(super) async fn claim(db: &mut PgConnection, id: &str, organisation: &str) -> Result<(), Error> {
    let cell = cells::lock(db, id).await?.ok_or(Error::NotFound("cell"))?;
    if cell.kind()? == CellKind::Dedicated && cell.organisation.is_none() {
        cells::upsert(db, &Cell { organisation: Some(organisation.to_owned()), ..cell }).await?;
    }
    Ok(())
}

pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<CellStatus>, Error> {
    if caller.horizon() == Some("") {
        return Err(Error::Forbidden);
    }
    cells::list(&mut *tenancy.0.pool.acquire().await?, caller.horizon(), None, after, limit).await
}

pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &str) -> Result<CellStatus, Error> {
    if caller.horizon() == Some("") {
        return Err(Error::NotFound("cell"));
    }
    let found = cells::list(&mut *tenancy.0.pool.acquire().await?, caller.horizon(), Some(id), None, 1).await?.pop();
    found.ok_or(Error::NotFound("cell"))
}

pub async fn remove(tenancy: &Tenancy, caller: &Caller, id: &CellId) -> Result<(), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let known = cells::lock(&mut db, id.as_str()).await?.ok_or(Error::NotFound("cell"))?;
    if cells::tenants_in(&mut db, id.as_str()).await? > 0 {
        return Err(Error::CellInUse);
    }
    if known.state()? == CellState::Retired {
        return Err(Error::Placement("the cell is retired, and kept so that its name is not given again"));
    }
    drains::end_cleaning_of(&mut db, id.as_str()).await?;
    cells::delete(&mut db, id.as_str()).await?;
    log(tenancy, caller, db, &Change::CellRemoved { cell: id.clone() }, &[]).await
}

/// Whether a certificate is one of the cell's services'.
pub fn is_of(peer: &str, cell: &CellId) -> bool {
    peer.starts_with(&contracts::services::spiffe_id(cell.as_str(), ""))
}

/// `peer` is the SPIFFE id of the connection: a cell reports for itself and for nobody else.
pub async fn report(tenancy: &Tenancy, peer: &str, cell: &CellId, report: &CellReport) -> Result<(), Error> {
    if !is_of(peer, cell) {
        return Err(Error::NotTheCell);
    }
    let well_formed = report.contracts_sha256.len() == 64
        && report.contracts_sha256.bytes().all(|b| b.is_ascii_hexdigit())
        && report.drift.len() <= MAX_FINDINGS
        && report.drift.iter().all(|finding| finding.len() <= MAX_FINDING_BYTES);
    let version = i32::try_from(report.contracts_version).ok().filter(|_| well_formed);
    let version = version.ok_or(Error::Invalid("the report is not well formed"))?;
    let mut db = kit::database::begin(&tenancy.0.pool).await?;
    if !cells::report(&mut db, cell.as_str(), version, &report.contracts_sha256, &report.drift).await? {
        return Err(Error::NotFound("cell"));
    }
    if report.drift.is_empty() {
        cells::is_ready(&mut db, cell.as_str()).await?;
    }
    Ok(db.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(kind: CellKind, organisation: Option<&str>) -> Registration {
        Registration {
            http: "127.0.2.1:8080".into(),
            flight: "127.0.2.1:50133".into(),
            door: None,
            kind,
            organisation: organisation.map(str::to_owned),
            state: None,
            capacity: None,
            region: None,
        }
    }

    #[test]
    fn a_cell_keeps_its_kind_and_its_owner() {
        let id = CellId::new("dedicated-1").unwrap();
        let owned = merge(&id, None, &registration(CellKind::Dedicated, Some("globex")), 0).unwrap();
        let again = merge(&id, Some(&owned), &registration(CellKind::Dedicated, None), 3).unwrap();
        assert_eq!(again, owned);
        assert!(merge(&id, Some(&owned), &registration(CellKind::Shared, None), 0).is_err());
        assert!(merge(&id, Some(&owned), &registration(CellKind::Dedicated, Some("acme")), 1).is_err());
        assert!(merge(&id, Some(&owned), &registration(CellKind::Dedicated, Some("acme")), 0).is_ok());
        assert!(merge(&id, None, &registration(CellKind::Shared, Some("acme")), 0).is_err());
    }
}
