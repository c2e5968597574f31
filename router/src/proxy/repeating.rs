//! Whether a request goes to its cell once more. Only if nothing of it was sent, the cell certainly did not process
//! it, or it may be repeated; each reason once; and never beyond what a cell's second tries may cost.

use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::Proxy;
use super::exchange::{Exchange, Turn};
use crate::decision::Refusal;

/// How pingora calls it that a cell says nothing.
const SILENT: [ErrorType; 3] = [ErrorType::ConnectTimedout, ErrorType::TLSHandshakeTimedout, ErrorType::ConnectNoRoute];

impl Proxy {
    /// After a connection did not come about.
    pub(super) fn connects_again(&self, exchange: &mut Exchange, error: &Error) -> bool {
        if *error.etype() == ErrorType::ConnectRefused {
            if self.has_another_way(exchange) {
                return self.connection_once_more(exchange, "refused");
            }
            // A wait, not a try: it adds nothing to what the cell has to bear.
            let due = exchange.waits.is_none();
            if due {
                exchange.waits = Some(Turn::Due);
                self.shared.knowledge.metrics.retry("refused");
            }
            return due;
        }
        if SILENT.contains(error.etype()) {
            if let Some(entrance) = &exchange.entrance {
                self.shared.waiting.missed(entrance);
            }
            // A second wait as long as the first would only double the caller's.
            return self.has_another_way(exchange) && self.connection_once_more(exchange, "connect");
        }
        self.connection_once_more(exchange, "connect")
    }

    /// Whether the cell has an address at which somebody may answer. The one that did not is watched, and passed over
    /// until it does.
    fn has_another_way(&self, exchange: &Exchange) -> bool {
        let (Some(placement), Some(entrance)) = (exchange.placement(), &exchange.entrance) else { return false };
        if self.shared.knowledge.names().count(&placement.gate) < 2 {
            return false;
        }
        self.shared.waiting.missed(entrance);
        self.entrance(exchange).is_some_and(|next| !self.shared.waiting.is_away(next.address))
    }

    /// After a connection broke, or the cell refused the placement.
    pub(super) fn sends_again(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        error: &mut Error,
        reused: bool,
    ) -> bool {
        if exchange.misdirected.is_some() {
            let again = replayable(session) && !exchange.moved_retry_used && self.affordable(exchange);
            exchange.moved_retry_used = true;
            if again {
                self.shared.knowledge.metrics.retry("misdirected");
            } else {
                exchange.refusal = Some(Refusal::Moving);
            }
            return again;
        }
        // pingora marks what a cell certainly has not processed; on a reused connection that broke
        // only a method that may be repeated is.
        error.retry.decide_reuse(reused && session.req_header().method.is_idempotent());
        error.retry() && replayable(session) && self.connection_once_more(exchange, "connection_lost")
    }

    fn connection_once_more(&self, exchange: &mut Exchange, reason: &'static str) -> bool {
        let again = !exchange.connect_retry_used && self.affordable(exchange);
        if again {
            exchange.connect_retry_used = true;
            self.shared.knowledge.metrics.retry(reason);
        }
        again
    }

    /// Takes what one more try costs from what the cell's may cost.
    fn affordable(&self, exchange: &Exchange) -> bool {
        let Some(entrance) = &exchange.entrance else { return false };
        let given = self.shared.retries.take(entrance.key, self.shared.now());
        if !given {
            self.shared.knowledge.metrics.retries_denied.inc();
        }
        given
    }
}

fn replayable(session: &Session) -> bool {
    let started = session.response_written().is_some_and(|header| super::is_last(header.status));
    !started && !session.as_ref().retry_buffer_truncated()
}
