//! What an operator may change; the defaults suit a laptop.

use std::num::NonZeroU32;
use std::time::Duration;

use kit::config::{self, SettingsError};
use serde::Deserialize;

use crate::domain::OriginRule;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Requests a tenant may make per second, sustained.
    pub requests_per_second: NonZeroU32,
    /// Requests a tenant may make at once after a pause.
    pub request_burst: NonZeroU32,
    /// Requests of one tenant under way at a time.
    pub concurrent_requests: usize,
    /// Tenants whose limits are kept in memory at a time.
    pub tracked_tenants: usize,
    /// Longest request body, in bytes. Services may allow less.
    pub body_bytes: u64,
    /// Longest exchange, from the request's head to the answer's last byte, in seconds.
    pub total_seconds: u64,
    /// Longest silence while a request's body is on its way, in seconds.
    pub upload_idle_seconds: u64,
    /// Longest wait for the answer's head after the request's last byte, in seconds. A dataset's
    /// commit converts a whole file in that time.
    pub head_seconds: u64,
    /// Longest silence inside an answer, in seconds. Services that tail send a sign of life more often.
    pub download_idle_seconds: u64,
    /// Origins whose pages may call the API: `https://app.example.com`, or with one leading
    /// wildcard label and any port, `http://*.localhost:*`.
    pub cors_origins: Vec<String>,
    /// Refusals without a verified caller that are recorded per second and tenant; the rest is
    /// counted, and the count stands in the next record.
    pub refusals_recorded_per_second: NonZeroU32,
    /// Audit entries held in memory while the database does not answer. When it is full, calls
    /// that change something are refused.
    pub audit_backlog: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests_per_second: nonzero(1_000),
            request_burst: nonzero(2_000),
            concurrent_requests: 256,
            tracked_tenants: 20_000,
            body_bytes: 8 << 30,
            total_seconds: 3_600,
            upload_idle_seconds: 60,
            head_seconds: 900,
            download_idle_seconds: 120,
            cors_origins: vec!["http://*.localhost:*".to_owned(), "https://*.localhost:*".to_owned()],
            refusals_recorded_per_second: nonzero(20),
            audit_backlog: 1_024,
        }
    }
}

fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("concurrent_requests", self.concurrent_requests as u64),
            ("tracked_tenants", self.tracked_tenants as u64),
            ("body_bytes", self.body_bytes),
            ("total_seconds", self.total_seconds),
            ("upload_idle_seconds", self.upload_idle_seconds),
            ("head_seconds", self.head_seconds),
            ("download_idle_seconds", self.download_idle_seconds),
            ("audit_backlog", self.audit_backlog as u64),
        ])?;
        self.origins().map(|_| ())
    }
}

impl Settings {
    pub fn origins(&self) -> Result<Vec<OriginRule>, SettingsError> {
        let wrong = SettingsError { name: "cors_origins", reason: "an origin is scheme://host[:port], without a path" };
        self.cors_origins.iter().map(|text| OriginRule::parse(text).ok_or(wrong)).collect()
    }

    pub fn total(&self) -> Duration {
        Duration::from_secs(self.total_seconds)
    }

    pub fn upload_idle(&self) -> Duration {
        Duration::from_secs(self.upload_idle_seconds)
    }

    pub fn head(&self) -> Duration {
        Duration::from_secs(self.head_seconds)
    }

    pub fn download_idle(&self) -> Duration {
        Duration::from_secs(self.download_idle_seconds)
    }
}
