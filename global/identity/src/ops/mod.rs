//! One function per use case.

pub mod accounts;
pub mod api_keys;
pub mod bootstrap;
pub mod device;
pub mod key_cards;
pub mod members;
pub mod password;
pub mod sessions;
pub mod tokens;

use contracts::claims::MAX_TOKEN_SECONDS;
use time::{Duration, OffsetDateTime};

/// A revocation is published until the last token of its session has expired on the slowest clock.
fn revoked_until(now: OffsetDateTime) -> OffsetDateTime {
    now + Duration::seconds(MAX_TOKEN_SECONDS + 60)
}

/// Postgres keeps microseconds; what we hand out should equal what we read back.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now)
}
