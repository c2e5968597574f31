//! Waiting for what is away, for as long as the service runs.

use std::time::Duration;

use kit::fault::chain;
use kit::{Fault, Kind};
use tokio_util::sync::CancellationToken;

use super::Sink;
use crate::domain::progress::{ProgressError, Topic};
use crate::error::Error;

/// Pauses between tries.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether the topic is the one that was read.
pub async fn still(sink: &Sink, topic: &Topic) -> Result<(), Error> {
    if sink.log.topic_id().await? == topic.id {
        return Ok(());
    }
    Err(ProgressError::OtherTopic(topic.id.clone()).into())
}

pub fn tell_of_waiting(what: &str, error: &Error) {
    if matches!(error, Error::Progress(_)) || error.kind() == Kind::Internal {
        tracing::error!(what, error = %chain(error), "the sink waits, and will not go on by itself");
    } else {
        tracing::warn!(what, error = %chain(error), "the sink waits");
    }
}

/// Until it works or the service stops.
pub async fn persistently<T, E, F>(
    stopping: &CancellationToken,
    what: &str,
    mut work: impl FnMut() -> F,
) -> Result<T, Error>
where
    E: Into<Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = FIRST_PAUSE;
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => tell_of_waiting(what, &error.into()),
        }
        pause(stopping, wait).await?;
        wait = (wait * 2).min(LONGEST_PAUSE);
    }
}

pub async fn pause(stopping: &CancellationToken, time: Duration) -> Result<(), Error> {
    tokio::select! {
        biased;
        () = stopping.cancelled() => Err(Error::Stopping),
        () = tokio::time::sleep(time) => Ok(()),
    }
}
