//! `[telemetry]` of every process.

use serde::{Deserialize, Serialize};

/// Where spans go, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Base URL of an OTLP collector that speaks HTTP, `http://127.0.0.1:4318`; nothing is recorded without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// Part of the traces that begin here and are recorded, 0 to 1. A trace that a caller began is
    /// recorded if the caller says so.
    pub sample_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: None, sample_ratio: 0.1 }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("[telemetry] sample_ratio is between 0 and 1")]
    Ratio,
    #[error("[telemetry] otlp must be an http:// or https:// URL")]
    Url,
    #[error("the collector's client cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Telemetry {
    pub fn validate(&self) -> Result<(), TelemetryError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(TelemetryError::Ratio);
        }
        match &self.otlp {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => Err(TelemetryError::Url),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let telemetry = |otlp: Option<&str>, sample_ratio| Telemetry { otlp: otlp.map(str::to_owned), sample_ratio };
        telemetry(None, 0.0).validate().unwrap();
        telemetry(Some("http://127.0.0.1:4318"), 1.0).validate().unwrap();
        assert!(matches!(telemetry(None, 1.5).validate(), Err(TelemetryError::Ratio)));
        assert!(matches!(telemetry(None, f64::NAN).validate(), Err(TelemetryError::Ratio)));
        assert!(matches!(telemetry(Some("127.0.0.1:4318"), 1.0).validate(), Err(TelemetryError::Url)));
    }
}
