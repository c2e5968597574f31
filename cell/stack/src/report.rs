//! Progress, as it is told to whoever waits.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;

#[derive(Debug, Clone)]
pub enum Event {
    Begun {
        what: String,
    },
    Done {
        what: String,
        elapsed: Duration,
    },
    Failed {
        what: String,
    },
    /// Something worth a line of its own.
    Said {
        line: String,
    },
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Fn(Event) + Send + Sync>);

impl Reporter {
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Nobody listens.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// One line per event on standard error.
    pub fn plain() -> Self {
        Self::new(|event| match event {
            Event::Begun { .. } => {}
            Event::Done { what, elapsed } => eprintln!("{what}: {:.1} s", elapsed.as_secs_f64()),
            Event::Failed { what } => eprintln!("{what}: failed"),
            Event::Said { line } => eprintln!("{line}"),
        })
    }

    pub fn say(&self, line: impl Into<String>) {
        (self.0)(Event::Said { line: line.into() });
    }

    /// Reports the beginning and the end of `work`.
    pub async fn during<T>(&self, what: impl Into<String>, work: impl Future<Output = Result<T>>) -> Result<T> {
        let what = what.into();
        let begun = Instant::now();
        (self.0)(Event::Begun { what: what.clone() });
        let outcome = work.await;
        (self.0)(match outcome {
            Ok(_) => Event::Done { what, elapsed: begun.elapsed() },
            Err(_) => Event::Failed { what },
        });
        outcome
    }
}
