//! Statements whose rows are being sent, so that they can be cancelled.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::FlightData;
use futures::{Stream, StreamExt};
use kit::Problem;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use uuid::Uuid;

use super::backend::Messages;
use crate::Error;

#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<Uuid, Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    token: CancellationToken,
    /// Readers of the same ticket.
    readers: usize,
}

impl Running {
    /// Lets `messages` end with an error when the statement is cancelled.
    pub fn watch(&self, id: Uuid, messages: Messages) -> Messages {
        let mut all = self.0.lock();
        let entry = all.entry(id).or_default();
        entry.readers += 1;
        let cancelled = Box::pin(entry.token.clone().cancelled_owned());
        drop(all);
        Watched { id, running: self.clone(), cancelled, messages: Some(messages) }.boxed()
    }

    /// Whether the statement was running here. It frees its memory as soon as its stream is dropped,
    /// which is when the transport polls it next: at once.
    pub fn cancel(&self, id: Uuid) -> bool {
        let all = self.0.lock();
        all.get(&id).inspect(|entry| entry.token.cancel()).is_some()
    }

    fn leave(&self, id: Uuid) {
        let mut all = self.0.lock();
        if let Some(entry) = all.get_mut(&id) {
            entry.readers -= 1;
            if entry.readers == 0 {
                all.remove(&id);
            }
        }
    }
}

struct Watched {
    id: Uuid,
    running: Running,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    messages: Option<Messages>,
}

impl Stream for Watched {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(messages) = this.messages.as_mut() else { return Poll::Ready(None) };
        if this.cancelled.as_mut().poll(context).is_ready() {
            this.messages = None;
            return Poll::Ready(Some(Err(Problem::from(Error::Cancelled).to_status())));
        }
        messages.poll_next_unpin(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.running.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancelled_statement_ends_with_an_error_and_is_forgotten() {
        let running = Running::default();
        let id = Uuid::now_v7();
        let mut messages = running.watch(id, futures::stream::pending().boxed());
        assert!(running.cancel(id));
        assert!(messages.next().await.is_some_and(|end| end.is_err()));
        assert!(messages.next().await.is_none());
        drop(messages);
        assert!(!running.cancel(id));
    }
}
