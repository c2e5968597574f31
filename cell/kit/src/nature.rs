//! Time and chance, in one place: a simulation puts its own in their stead, so that one seed always
//! gives the same run.

use std::cell::RefCell;
use std::rc::Rc;

use time::OffsetDateTime;
use uuid::Uuid;

/// What a simulation replaces.
pub trait Nature {
    fn now(&self) -> OffsetDateTime;
    fn random(&self) -> u128;
}

thread_local! {
    static REPLACED: RefCell<Option<Rc<dyn Nature>>> = const { RefCell::new(None) };
}

/// Until it is dropped, this thread lives by `nature`.
pub fn replace(nature: Rc<dyn Nature>) -> Replaced {
    Replaced(REPLACED.replace(Some(nature)))
}

/// Gives the thread its former nature back.
pub struct Replaced(Option<Rc<dyn Nature>>);

impl Drop for Replaced {
    fn drop(&mut self) {
        REPLACED.replace(self.0.take());
    }
}

fn replaced() -> Option<Rc<dyn Nature>> {
    REPLACED.with_borrow(Clone::clone)
}

/// The wall clock.
pub fn now() -> OffsetDateTime {
    replaced().map_or_else(OffsetDateTime::now_utc, |nature| nature.now())
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> i64 {
    i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

pub fn random() -> u128 {
    replaced().map_or_else(rand::random, |nature| nature.random())
}

/// A new UUIDv7.
pub fn uuid() -> Uuid {
    let Some(nature) = replaced() else { return Uuid::now_v7() };
    let mut tail = [0; 10];
    tail.copy_from_slice(&nature.random().to_be_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(now_ms().unsigned_abs(), &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Nature for Still {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }
        fn random(&self) -> u128 {
            7
        }
    }

    #[test]
    fn a_replaced_nature_ends_with_its_guard() {
        let guard = replace(Rc::new(Still));
        assert_eq!((now_ms(), random(), uuid()), (0, 7, uuid()));
        drop(guard);
        assert!(now_ms() > 0);
        assert_ne!(uuid(), uuid());
    }
}
