//! The Idempotency-Key header, read the same way by every API that takes one.

use http::{HeaderMap, HeaderName};

pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Idempotency-Key has 1 to 128 visible ASCII characters and comes once")]
pub struct BadKey;

/// The request's key, if it has one.
pub fn key(headers: &HeaderMap) -> Result<Option<&str>, BadKey> {
    let mut all = headers.get_all(KEY).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| BadKey)?;
    let visible = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if visible && all.next().is_none() { Ok(Some(text)) } else { Err(BadKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_visible_and_alone() {
        let with = |keys: &[&str]| keys.iter().map(|key| (KEY, key.parse().unwrap())).collect::<HeaderMap>();
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        assert_eq!(key(&with(&["a-1"])), Ok(Some("a-1")));
        let long = "x".repeat(129);
        for bad in [&[""][..], &["a b"], &["\u{e9}"], &[&long], &["a", "a"]] {
            assert_eq!(key(&with(bad)), Err(BadKey), "{bad:?}");
        }
    }
}
