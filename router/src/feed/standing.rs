//! How it goes with a feed: when it is tried next, and what is said of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::knowledge::Knowledge;
use crate::metrics::{FeedLabel, Metrics};

/// Of one follower.
pub struct Standing {
    feed: &'static str,
    metrics: Arc<Metrics>,
    backoff: Backoff,
    complaint: Complaint,
}

impl Standing {
    pub fn new(feed: &'static str, knowledge: &Knowledge) -> Self {
        let (metrics, backoff, complaint) = (knowledge.metrics.clone(), Backoff::new(), Complaint::default());
        Self { feed, metrics, backoff, complaint }
    }

    /// It says something.
    pub fn heard(&mut self) {
        self.backoff.reset();
        self.complaint.over(self.feed);
    }

    /// Its connection ended, as connections do.
    pub fn ended(&mut self) {
        self.metrics.feed_failures.get_or_create(&FeedLabel { feed: self.feed }).inc();
    }

    /// It broke, or said what it must not.
    pub fn lost(&mut self, error: impl std::fmt::Display) {
        self.ended();
        self.complaint.about(self.feed, error);
    }

    /// What it said was refused as bad.
    pub fn refused(&self) {
        self.metrics.refused_data.get_or_create(&FeedLabel { feed: self.feed }).inc();
    }

    /// Until the next try.
    pub fn pause(&mut self) -> Duration {
        self.backoff.pause()
    }
}

/// Pause before the next try: doubles from 100 ms to 5 s, with a jitter so that a fleet of
/// routers does not come back as one.
pub struct Backoff(Duration);

impl Backoff {
    pub const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(5);

    pub fn new() -> Self {
        Self(Self::LEAST)
    }

    pub fn reset(&mut self) {
        self.0 = Self::LEAST;
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::MOST);
        pause.mul_f64(rand::rng().random_range(0.75..1.25))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Says what is wrong with a feed once, and again when it changes or after a minute; every try
/// would drown the log while the global plane is away.
#[derive(Debug, Clone, Default)]
pub struct Complaint(Option<(String, Instant)>);

impl Complaint {
    const AGAIN_AFTER: Duration = Duration::from_secs(60);

    pub fn about(&mut self, feed: &'static str, error: impl std::fmt::Display) {
        let text = error.to_string();
        let said = self.0.as_ref().is_some_and(|(last, at)| *last == text && at.elapsed() < Self::AGAIN_AFTER);
        if !said {
            tracing::warn!(feed, error = %text, "feed lost; what is known is served");
            self.0 = Some((text, Instant::now()));
        }
    }

    pub fn over(&mut self, feed: &'static str) {
        if self.0.take().is_some() {
            tracing::info!(feed, "feed back");
        }
    }
}
