//! A run under way: what is recorded of it, whichever way it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow_flight::FlightData;
use futures::{Stream, StreamExt};
use kit::Scope;
use query_engine::flight::{Messages, Statement, count_rows};
use time::OffsetDateTime;
use tonic::Status;
use uuid::Uuid;

use crate::domain::{Route, Run, State, Words};
use crate::events::Place;

/// Uses its place when it ends; a run that is dropped was abandoned.
pub struct Recorded {
    run: Run,
    place: Option<Place>,
}

impl Recorded {
    pub fn begin(scope: &Scope, statement: &Statement, route: Route, place: Place) -> Self {
        let now = OffsetDateTime::now_utc();
        let run = Run {
            id: Uuid::now_v7(),
            scope: scope.clone(),
            statement_id: statement.id,
            words: Words::of(&statement.sql),
            route,
            pins: statement.pins.clone().unwrap_or_default(),
            state: State::Abandoned,
            error: None,
            rows: 0,
            bytes: 0,
            started_at: now,
            finished_at: now,
        };
        Self { run, place: Some(place) }
    }

    /// A statement that did not get as far as running.
    pub fn refused(scope: &Scope, statement: &Statement, status: &Status, place: Place) {
        Self::begin(scope, statement, Route::Edge, place).fail(status);
    }

    pub fn fail(mut self, status: &Status) {
        self.end(State::Failed(status.code()), Some(status));
    }

    /// Counts what passes by and records how it ends.
    pub fn follow(self, messages: Messages) -> Messages {
        Following { recorded: self, messages }.boxed()
    }

    fn count(&mut self, message: &FlightData) {
        self.run.rows += count_rows(message);
        self.run.bytes += (message.data_header.len() + message.data_body.len()) as u64;
    }

    fn end(&mut self, state: State, status: Option<&Status>) {
        let Some(place) = self.place.take() else { return };
        let mut run = self.run.clone();
        run.state = state;
        // The code and not the message: a message may quote a value of a row.
        run.error = status.map(|status| {
            let code = status.metadata().get(contracts::headers::ERROR_CODE).and_then(|code| code.to_str().ok());
            code.map_or_else(|| format!("{:?}", status.code()), str::to_owned)
        });
        run.finished_at = OffsetDateTime::now_utc();
        place.record(run);
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.end(State::Abandoned, None);
    }
}

struct Following {
    recorded: Recorded,
    messages: Messages,
}

impl Stream for Following {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.messages.poll_next_unpin(context);
        match &next {
            Poll::Pending => {}
            Poll::Ready(None) => self.recorded.end(State::Finished, None),
            Poll::Ready(Some(Ok(message))) => self.recorded.count(message),
            Poll::Ready(Some(Err(status))) => self.recorded.end(State::Failed(status.code()), Some(status)),
        }
        next
    }
}
