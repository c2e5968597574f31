//! When a signing key comes and goes: next → current → retired → forgotten.

use time::{Duration, OffsetDateTime};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, does not sign yet: readers know it before they need it.
    Next,
    Current,
    /// Signs no more; published until no token of it is alive.
    Retired,
}

impl KeyState {
    pub fn name(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Current => "current",
            KeyState::Retired => "retired",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [KeyState::Next, KeyState::Current, KeyState::Retired].into_iter().find(|s| s.name() == text)
    }
}

/// What a plan needs to know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAge {
    pub kid: String,
    pub state: KeyState,
    pub created_at: OffsetDateTime,
    /// When it began to sign, for the current key; when it ended, for a retired one.
    pub since: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Only on an empty ring: nobody can have been waiting for it.
    CreateCurrent,
    CreateNext,
    /// The next key becomes current, the current one retires.
    Rotate,
    Forget {
        kid: String,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub rotate: Duration,
    pub publish: Duration,
    pub retire: Duration,
}

/// The one step that is due first; apply it and plan again until there is none.
pub fn plan(keys: &[KeyAge], now: OffsetDateTime, schedule: Schedule) -> Option<Step> {
    let find = |state: KeyState| keys.iter().find(|k| k.state == state);
    let Some(current) = find(KeyState::Current) else { return Some(Step::CreateCurrent) };
    let Some(next) = find(KeyState::Next) else { return Some(Step::CreateNext) };
    if now - current.since >= schedule.rotate && now - next.created_at >= schedule.publish {
        return Some(Step::Rotate);
    }
    let gone = |k: &&KeyAge| k.state == KeyState::Retired && now - k.since >= schedule.retire;
    keys.iter().find(gone).map(|k| Step::Forget { kid: k.kid.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule =
        Schedule { rotate: Duration::seconds(100), publish: Duration::seconds(50), retire: Duration::seconds(30) };

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
    }

    fn key(kid: &str, state: KeyState, created: i64, since: i64) -> KeyAge {
        KeyAge { kid: kid.into(), state, created_at: at(created), since: at(since) }
    }

    #[test]
    fn an_empty_ring_gets_a_current_key_then_a_next_one() {
        assert_eq!(plan(&[], at(0), SCHEDULE), Some(Step::CreateCurrent));
        assert_eq!(plan(&[key("a", KeyState::Current, 0, 0)], at(0), SCHEDULE), Some(Step::CreateNext));
    }

    #[test]
    fn a_key_signs_only_after_it_was_published_long_enough() {
        let ring =
            |next_created| [key("a", KeyState::Current, 0, 0), key("b", KeyState::Next, next_created, next_created)];
        assert_eq!(plan(&ring(0), at(99), SCHEDULE), None);
        assert_eq!(plan(&ring(0), at(100), SCHEDULE), Some(Step::Rotate));
        assert_eq!(plan(&ring(80), at(100), SCHEDULE), None);
        assert_eq!(plan(&ring(80), at(130), SCHEDULE), Some(Step::Rotate));
    }

    #[test]
    fn a_retired_key_outlives_its_tokens() {
        let ring = [
            key("a", KeyState::Retired, 0, 100),
            key("b", KeyState::Current, 0, 100),
            key("c", KeyState::Next, 100, 100),
        ];
        assert_eq!(plan(&ring, at(129), SCHEDULE), None);
        assert_eq!(plan(&ring, at(130), SCHEDULE), Some(Step::Forget { kid: "a".into() }));
    }
}
