//! Device authorisation (RFC 8628): the codes and what a poll is answered.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// No vowels, nothing that looks like something else: codes are typed by people.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
pub const USER_CODE_LETTERS: usize = 8;

/// A user code from random bytes, without the dash. A byte is used only below 240 = 12 × 20, so
/// that every letter is as likely; `None` asks for more bytes.
pub fn user_code(random: &[u8]) -> Option<String> {
    let letters: String = random
        .iter()
        .filter(|b| **b < 240)
        .take(USER_CODE_LETTERS)
        .map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]))
        .collect();
    (letters.len() == USER_CODE_LETTERS).then_some(letters)
}

/// As shown: `BCDF-GHJK`.
pub fn show_user_code(code: &str) -> String {
    let (left, right) = code.split_at(code.len() / 2);
    format!("{left}-{right}")
}

/// What a person typed: case, dashes and spaces do not matter.
pub fn read_user_code(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|c| !matches!(c, '-' | ' ')).collect::<String>().to_ascii_uppercase();
    let well_formed = code.len() == USER_CODE_LETTERS && code.bytes().all(|b| ALPHABET.contains(&b));
    well_formed.then_some(code)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    Pending,
    Approved(Uuid),
    Denied,
    Used,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    Pending,
    /// Asked again too soon: the interval grows by five seconds.
    SlowDown,
    Denied,
    Expired,
    Ready(Uuid),
}

pub fn decide_poll(
    state: GrantState,
    expires_at: OffsetDateTime,
    last_poll: Option<OffsetDateTime>,
    interval_seconds: i32,
    now: OffsetDateTime,
) -> Poll {
    if now >= expires_at {
        return Poll::Expired;
    }
    match state {
        GrantState::Used => Poll::Expired,
        GrantState::Denied => Poll::Denied,
        GrantState::Approved(subject) => Poll::Ready(subject),
        GrantState::Pending => {
            let soon = |last: OffsetDateTime| now - last < Duration::seconds(i64::from(interval_seconds));
            if last_poll.is_some_and(soon) { Poll::SlowDown } else { Poll::Pending }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn a_typed_code_is_read_generously_and_a_wrong_letter_is_refused() {
        assert_eq!(read_user_code("bcdf-ghjk"), Some("BCDFGHJK".into()));
        assert_eq!(read_user_code("BCDF GHJK"), Some("BCDFGHJK".into()));
        assert_eq!(read_user_code("ACDF-GHJK"), None);
        assert_eq!(read_user_code("BCDF-GHJ"), None);
        assert_eq!(show_user_code("BCDFGHJK"), "BCDF-GHJK");
    }

    #[test]
    fn a_user_code_uses_no_byte_that_would_favour_a_letter() {
        assert_eq!(user_code(&[255, 0, 1, 2, 3, 4, 5, 6, 7]), Some("BCDFGHJK".into()));
        assert_eq!(user_code(&[255; 16]), None);
    }

    #[test]
    fn a_grant_is_good_once_and_not_for_ever() {
        let (later, id) = (NOW + Duration::MINUTE, Uuid::nil());
        let poll = |state, last| decide_poll(state, later, last, 5, NOW);
        assert_eq!(poll(GrantState::Pending, None), Poll::Pending);
        assert_eq!(poll(GrantState::Pending, Some(NOW - Duration::SECOND)), Poll::SlowDown);
        assert_eq!(poll(GrantState::Pending, Some(NOW - Duration::seconds(5))), Poll::Pending);
        assert_eq!(poll(GrantState::Approved(id), None), Poll::Ready(id));
        assert_eq!(poll(GrantState::Denied, None), Poll::Denied);
        assert_eq!(poll(GrantState::Used, None), Poll::Expired);
        assert_eq!(decide_poll(GrantState::Approved(id), NOW, None, 5, NOW), Poll::Expired);
    }
}
