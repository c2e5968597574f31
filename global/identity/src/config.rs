//! Settings with defaults that work on a laptop.

use contracts::claims::MAX_TOKEN_SECONDS;
use contracts::key_cards;
use serde::{Deserialize, Serialize};

/// Durations in seconds unless the name says otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where clients reach the global plane, without a slash at the end.
    pub public_url: String,
    /// Life of an access token; at most [`MAX_TOKEN_SECONDS`].
    pub token_seconds: i64,
    /// Life of a user's session, whatever is refreshed in between.
    pub session_seconds: i64,
    /// Life of an API key's card at routers; at most [`key_cards::MAX_SECONDS`]. It is made anew after half of it.
    pub key_card_seconds: i64,
    /// A signing key signs for this long.
    pub rotation_seconds: i64,
    /// A key is published for at least this long before it signs.
    pub publish_seconds: i64,
    pub device_seconds: i64,
    /// How often a device may poll.
    pub device_interval_seconds: i32,
    /// Life of an API key whose maker names none; days.
    pub api_key_days: i64,
    /// Failed sign-ins an account and an address may have in one window.
    pub failures_per_account_and_address: i32,
    pub failures_per_account: i32,
    pub failures_per_address: i32,
    /// Device sign-ins that one address may start in one window.
    pub device_starts_per_address: i32,
    pub failure_window_seconds: i64,
    /// Password hashes computed at the same time; each takes 19 MiB and a core.
    pub concurrent_hashes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: "http://global.localhost:8080".to_owned(),
            token_seconds: MAX_TOKEN_SECONDS,
            session_seconds: 12 * 3600,
            key_card_seconds: key_cards::MAX_SECONDS,
            rotation_seconds: 7 * 24 * 3600,
            publish_seconds: 24 * 3600,
            device_seconds: 600,
            device_interval_seconds: 5,
            api_key_days: 90,
            failures_per_account_and_address: 5,
            failures_per_account: 50,
            failures_per_address: 200,
            device_starts_per_address: 100,
            failure_window_seconds: 900,
            concurrent_hashes: 2,
        }
    }
}

impl Settings {
    /// Says what is wrong, in words for the operator.
    pub fn validate(&self) -> Result<(), String> {
        let checks = [
            ((1..=MAX_TOKEN_SECONDS).contains(&self.token_seconds), "token_seconds must be 1 to 900"),
            (self.session_seconds >= self.token_seconds, "session_seconds must not be below token_seconds"),
            ((2..=key_cards::MAX_SECONDS).contains(&self.key_card_seconds), "key_card_seconds must be 2 to 86400"),
            (self.publish_seconds >= 0, "publish_seconds must not be negative"),
            (self.rotation_seconds > self.publish_seconds, "rotation_seconds must be above publish_seconds"),
            (self.device_seconds > 0 && self.device_interval_seconds > 0, "device_seconds must be above 0"),
            (self.concurrent_hashes > 0, "concurrent_hashes must be above 0"),
            (
                !self.public_url.ends_with('/') && url::Url::parse(&self.public_url).is_ok(),
                "public_url must be a URL without a slash at the end",
            ),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, text)) => Err((*text).to_owned()),
            None => Ok(()),
        }
    }

    /// A retired key is published until nothing it signed can be alive, and an hour more for slow clocks.
    pub fn retire_seconds(&self) -> i64 {
        MAX_TOKEN_SECONDS.max(self.key_card_seconds) + 3600
    }
}
