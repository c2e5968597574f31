//! The decision: from the facts of a request to its destination or its refusal. Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use contracts::claims::AUDIENCE_CELL;
use contracts::{CellId, Generation, GroupId, TenantId, key_cards};

use crate::cards::Cards;
use crate::fairness::{Allowance, Over};
use crate::revoked::Revoked;
use crate::table::{Gate, Seat, Surface, View};
use crate::target::{PathKind, host_of, is_address, judge_path};
use crate::token::{Check, Keys, TokenError, verify, verify_key};

/// The listener a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    Http,
    Https,
    Flight,
    FlightTls,
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Door::Http => "http",
            Door::Https => "https",
            Door::Flight => "flight",
            Door::FlightTls => "flight_tls",
        }
    }

    pub fn surface(self) -> Surface {
        match self {
            Door::Http | Door::Https => Surface::Http,
            Door::Flight | Door::FlightTls => Surface::Flight,
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Door::Https | Door::FlightTls)
    }
}

/// Rules of this site.
#[derive(Debug, Clone)]
pub struct Rules {
    pub global_hosts: Vec<String>,
    /// With its leading dot.
    pub tenant_suffix: String,
    pub leeway: i64,
    /// This router's; without one it serves every tenant.
    pub group: Option<GroupId>,
}

/// What a request says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub door: Door,
    /// Name the client asked for in TLS.
    pub tls_name: Option<&'a str>,
    /// `:authority` or `Host`, as sent.
    pub authority: Option<&'a [u8]>,
    pub options: bool,
    /// Without the query.
    pub path: &'a str,
    /// The line as sent could only be read after a repair.
    pub repaired: bool,
    pub authorization: Option<&'a [u8]>,
    /// There is more than one `authorization` header.
    pub ambiguous_authorization: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// What the router knows.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub view: &'a View,
    /// `None` until the first key set has arrived.
    pub keys: Option<&'a Keys>,
    pub revoked: &'a Revoked,
    pub cards: &'a Cards,
    pub rules: &'a Rules,
}

/// Which rule found the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Host,
    Token,
}

/// A tenant's cell, as the table has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub tenant: TenantId,
    pub cell: CellId,
    pub generation: Generation,
    pub gate: Arc<Gate>,
    pub by: By,
    /// What its tier allows it; `None` where this router's own default holds.
    pub allowance: Option<Allowance>,
    /// The same for the cell, as a header says it.
    pub limits: Option<Arc<str>>,
    /// Of the API key with which the request came.
    pub card: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Cell(Placement),
    Global,
}

/// Why the door stays shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoHost,
    BadHost,
    BadTarget,
    /// Where the request ends could be read in two ways.
    BadFraming,
    /// Nothing is served there.
    NotFound,
    /// TLS name and authority differ.
    WrongName,
    UnknownHost,
    HeaderTooLarge,
    BodyTooLarge,
    TokenMissing,
    TokenBad(TokenError),
    /// The token is good, for another tenant than the host's.
    OtherTenant,
    UnknownTenant,
    /// The tenant is served by other groups of routers.
    OtherGroup,
    /// No key set has arrived yet.
    NotReady,
    /// The cell knows a newer placement that has not arrived here.
    Moving,
    /// The tenant uses as much as it may.
    Over(Over),
    CellUnavailable,
    CellTimeout,
    CellBroken,
    Internal,
}

/// Decides one request.
pub fn decide(facts: Facts<'_>, known: Known<'_>) -> Result<Destination, Refusal> {
    if facts.repaired {
        return Err(Refusal::BadTarget);
    }
    let host = host_of(facts.authority.ok_or(Refusal::NoHost)?).ok_or(Refusal::BadHost)?;
    if let Some(name) = facts.tls_name
        && host_of(name.as_bytes()).as_deref() != Some(host.as_str())
    {
        return Err(Refusal::WrongName);
    }
    match judge_path(facts.path) {
        PathKind::Plain => {}
        PathKind::Internal => return Err(Refusal::NotFound),
        PathKind::Ambiguous => return Err(Refusal::BadTarget),
    }
    let surface = facts.door.surface();
    if surface == Surface::Http && known.rules.global_hosts.contains(&host) {
        return Ok(Destination::Global);
    }
    match known.view.by_host(&host) {
        Some(seat) => {
            served(&seat, known)?;
            by_host(seat, facts, known)
        }
        None if names_nobody(&host, facts, known.rules) => Err(Refusal::UnknownHost),
        None => by_token(facts, known),
    }
}

fn served(seat: &Seat<'_>, known: Known<'_>) -> Result<(), Refusal> {
    if known.rules.serve(seat.tenant, known.view) { Ok(()) } else { Err(Refusal::OtherGroup) }
}

impl Rules {
    /// Whether this router's group serves the tenant.
    pub fn serve(&self, tenant: &str, view: &View) -> bool {
        self.group.as_ref().is_none_or(|group| view.groups().serve(group, tenant))
    }
}

/// A host that claims to name a tenant, or any name without a token to place it by.
fn names_nobody(host: &str, facts: Facts<'_>, rules: &Rules) -> bool {
    if is_address(host) || (facts.door.surface() == Surface::Flight && rules.global_hosts.iter().any(|h| h == host)) {
        return false;
    }
    host.ends_with(&rules.tenant_suffix) || facts.authorization.is_none()
}

fn by_host(seat: Seat<'_>, facts: Facts<'_>, known: Known<'_>) -> Result<Destination, Refusal> {
    // A preflight carries no credentials by its nature; the cell's gateway answers it.
    let preflight = facts.options && facts.authorization.is_none();
    let bearer = if preflight { Bearer::default() } else { bearer_of(facts, known)? };
    if !preflight && bearer.tenant.is_none_or(|tenant| tenant.as_str() != seat.tenant) {
        return Err(Refusal::OtherTenant);
    }
    let placement = place(seat, facts.door.surface(), By::Host, known.view)?;
    Ok(Destination::Cell(Placement { card: bearer.card, ..placement }))
}

fn by_token(facts: Facts<'_>, known: Known<'_>) -> Result<Destination, Refusal> {
    let bearer = bearer_of(facts, known)?;
    let tenant = bearer.tenant.ok_or(Refusal::OtherTenant)?;
    let seat = known.view.by_tenant(&tenant).ok_or(Refusal::UnknownTenant)?;
    served(&seat, known)?;
    let placement = place(seat, facts.door.surface(), By::Token, known.view)?;
    Ok(Destination::Cell(Placement { card: bearer.card, ..placement }))
}

/// Whose request it is, by what came with it.
#[derive(Default)]
struct Bearer {
    tenant: Option<TenantId>,
    card: Option<Arc<str>>,
}

fn bearer_of(facts: Facts<'_>, known: Known<'_>) -> Result<Bearer, Refusal> {
    let header = facts.authorization.ok_or(Refusal::TokenMissing)?;
    if facts.ambiguous_authorization {
        return Err(Refusal::TokenBad(TokenError::Malformed));
    }
    let token = bearer(header).ok_or(Refusal::TokenBad(TokenError::Malformed))?;
    let keys = known.keys.ok_or(Refusal::NotReady)?;
    let Known { revoked, cards, rules, .. } = known;
    let check = Check { keys, revoked, audience: AUDIENCE_CELL, now: facts.now, leeway: rules.leeway };
    let (content, card) = match token.starts_with(key_cards::PREFIX) {
        true => verify_key(token, cards, check).map(|(content, card)| (content, Some(card))),
        false => verify(token, check).map(|content| (content, None)),
    }
    .map_err(Refusal::TokenBad)?;
    Ok(Bearer { tenant: content.claims.tid.clone(), card })
}

fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Where a tenant's seat is entered.
pub fn place(seat: Seat<'_>, surface: Surface, by: By, view: &View) -> Result<Placement, Refusal> {
    let gate = view.gate(seat.cell, surface).ok_or(Refusal::CellUnavailable)?.clone();
    let tenant = TenantId::new(seat.tenant).map_err(|_| Refusal::UnknownTenant)?;
    let (allowance, limits) = view.allowance(seat.tier).unzip();
    Ok(Placement {
        tenant,
        cell: seat.cell.clone(),
        generation: seat.generation,
        gate,
        by,
        allowance,
        limits,
        card: None,
    })
}
