//! Asks the core where a request goes, and again when what it goes by may have been too old.

use std::time::Duration;

use contracts::Generation;
use pingora::proxy::Session;

use super::exchange::{self, Exchange};
use super::{Misdirected, Proxy, Shared};
use crate::decision::{Destination, Known, Placement, Refusal, decide, place};
use crate::table::Entrance;
use crate::token::TokenError;

/// Wait before a cell that does not know its tenant yet is asked again.
const CELL_PATIENCE: Duration = Duration::from_millis(250);
/// Wait of a request for the card of an API key that was made just now.
const CARD_PATIENCE: Duration = Duration::from_secs(5);

impl Proxy {
    pub(super) fn decide(&self, session: &Session, repaired: bool) -> Result<Destination, Refusal> {
        let Shared { knowledge, rules, .. } = &*self.shared;
        let (view, keys, revoked, cards) = (knowledge.view(), knowledge.keys(), knowledge.revoked(), knowledge.cards());
        let known = Known { view: &view, keys: keys.as_deref(), revoked: &revoked, cards: &cards, rules };
        decide(exchange::facts(session, self.door, repaired), known)
    }

    /// Where the next try enters its destination; `None` while its name leads nowhere yet.
    pub(super) fn entrance(&self, exchange: &Exchange) -> Option<Entrance> {
        let Shared { knowledge, peers, waiting, .. } = &*self.shared;
        match exchange.destination.as_ref()? {
            Destination::Global => Some(peers.global.clone()),
            Destination::Cell(Placement { gate, .. }) => {
                // Requests take turns; the second try of one begins where its first did.
                let turn = exchange.turn;
                knowledge.names().entrance(gate, turn, |address| waiting.is_away(address))
            }
        }
    }

    /// Decides; a token signed with a key not seen yet, or before any, gets a second look.
    pub(super) async fn judge(&self, session: &Session, repaired: bool) -> Result<Destination, Refusal> {
        match self.decide(session, repaired) {
            Err(Refusal::TokenBad(TokenError::UnknownKey) | Refusal::NotReady)
                if self.shared.knowledge.newer_keys().await =>
            {
                self.decide(session, repaired)
            }
            Err(Refusal::TokenBad(TokenError::UnknownApiKey { is_new: true })) => {
                self.with_newer_cards(session, repaired).await
            }
            decided => decided,
        }
    }

    /// Decides again whenever cards have come, for a moment.
    async fn with_newer_cards(&self, session: &Session, repaired: bool) -> Result<Destination, Refusal> {
        let mut moved = self.shared.knowledge.cards_moved();
        let known = async {
            loop {
                match self.decide(session, repaired) {
                    Err(Refusal::TokenBad(TokenError::UnknownApiKey { .. })) if moved.changed().await.is_ok() => {}
                    decided => return decided,
                }
            }
        };
        let unknown = Refusal::TokenBad(TokenError::UnknownApiKey { is_new: true });
        tokio::time::timeout(CARD_PATIENCE, known).await.unwrap_or(Err(unknown))
    }

    /// The placement to try after a cell refused this one, or the refusal to pass on.
    pub(super) async fn after_421(
        &self,
        exchange: &Exchange,
        Misdirected { required, is_leaving }: Misdirected,
    ) -> Result<Destination, Refusal> {
        let Some(tried) = exchange.placement() else { return Err(Refusal::Internal) };
        let knowledge = &self.shared.knowledge;
        if let Some(required) = required.filter(|required| *required > tried.generation) {
            if !self.reaches(&tried.tenant, required, is_leaving).await {
                return Err(Refusal::Moving);
            }
        } else if knowledge.view().by_tenant(&tried.tenant).is_some_and(|seat| seat.generation == tried.generation) {
            // The cell is behind: it has not heard of the placement itself.
            let next = Generation(tried.generation.0.saturating_add(1));
            knowledge.reach(&tried.tenant, next, CELL_PATIENCE).await;
        }
        let view = knowledge.view();
        let seat = view.by_tenant(&tried.tenant).ok_or(Refusal::UnknownTenant)?;
        let placement = place(seat, self.door.surface(), tried.by, &view)?;
        Ok(Destination::Cell(Placement { card: tried.card.clone(), ..placement }))
    }
}
