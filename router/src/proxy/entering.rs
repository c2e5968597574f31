//! Who may come in: sizes, and what the tenant has left of its tier.

use bytes::Bytes;
use pingora::proxy::Session;

use super::exchange::Exchange;
use super::{Proxy, Shared};
use crate::decision::{Destination, Door, Refusal};
use crate::framing::{is_plain, is_target};

impl Proxy {
    /// Takes the destination for the request's, if its tenant may have one more under way.
    pub(super) fn enter(
        &self,
        session: &Session,
        destination: Destination,
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        // A preflight comes without a token, so anybody may send it: it must not use up what is the tenant's.
        let is_anybodys = !session.req_header().headers.contains_key(http::header::AUTHORIZATION);
        let placement = match exchange.destination.insert(destination) {
            Destination::Cell(placement) if !is_anybodys => placement,
            _ => return Ok(()),
        };
        let Shared { ledger, allowance, knowledge, .. } = &*self.shared;
        let allowance = placement.allowance.unwrap_or(*allowance);
        if allowance.body.is_some_and(|limit| announced(session).is_some_and(|length| length > limit)) {
            return Err(Refusal::BodyTooLarge);
        }
        let share = knowledge.share_of(&placement.tenant);
        let leave = ledger.enter(&placement.tenant, allowance, share, self.shared.now()).map_err(Refusal::Over)?;
        placement.gate.pass();
        exchange.leave = Some(leave);
        Ok(())
    }

    /// Longest body of this request: the listener's limit, or its tenant's tier's if that is less.
    pub(super) fn body_limit_of(&self, exchange: &Exchange) -> u64 {
        let of_tier = exchange.placement().and_then(|placement| placement.allowance?.body);
        self.body_limit().min(of_tier.unwrap_or(u64::MAX))
    }

    fn body_limit(&self) -> u64 {
        let limits = &self.shared.limits;
        let limit = match self.door {
            Door::Http | Door::Https => limits.body_bytes,
            Door::Flight | Door::FlightTls => limits.flight_body_bytes,
        };
        if limit == 0 { u64::MAX } else { limit }
    }

    /// Charges a piece of a body to its tenant; its length.
    pub(super) fn passed(&self, body: &Option<Bytes>, exchange: &Exchange) -> u64 {
        let bytes = body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if let Some(leave) = exchange.leave.as_ref().filter(|leave| bytes > 0 && leave.counts_bytes) {
            leave.passed(bytes, self.shared.now());
        }
        bytes
    }

    /// A request over HTTP/1 that could be read in two ways. HTTP/2 frames bodies itself and has no request line.
    pub(super) fn refusal_by_form(&self, session: &Session, misframed: bool) -> Option<Refusal> {
        session.as_http1()?;
        let header = session.req_header();
        if misframed || !is_plain(&header.headers) {
            return Some(Refusal::BadFraming);
        }
        (!is_target(header.raw_path(), &header.method)).then_some(Refusal::BadTarget)
    }

    pub(super) fn refusal_by_size(&self, session: &Session) -> Option<Refusal> {
        let raw = session.as_http1().map_or(0, |_| session.to_h1_raw().len());
        if raw > self.shared.limits.header_bytes {
            return Some(Refusal::HeaderTooLarge);
        }
        announced(session).filter(|length| *length > self.body_limit()).map(|_| Refusal::BodyTooLarge)
    }
}

/// How long the request says its body is.
fn announced(session: &Session) -> Option<u64> {
    let length = session.req_header().headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
