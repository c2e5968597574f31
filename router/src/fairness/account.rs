//! One tenant's use of a router.

use std::time::Duration;

use contracts::shares::WHOLE;

use super::allowance::{Allowance, Over};
use super::bucket::{Bucket, Rate};

/// What was asked for in less than this is taken for the use of so long.
const LEAST_SPAN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Account {
    requests: Bucket,
    bytes: Bucket,
    pub under_way: u32,
    /// Its weight among those at work, while it is.
    pub weight: u32,
    /// Of all routers together, and this one's millionths of it.
    whole: Allowance,
    share: u32,
    asked: Asked,
}

/// What was asked for, whether it was let in or not.
#[derive(Debug, Default)]
struct Asked {
    since: Duration,
    requests: u64,
    bytes: u64,
    /// Requests for which there was no place.
    crowded: u32,
    /// It has pressed its share and was not told of yet; nothing is forgotten until then.
    is_noted: bool,
}

impl Asked {
    fn since(now: Duration) -> Self {
        Self { since: now, ..Self::default() }
    }
}

impl Account {
    pub fn new(now: Duration) -> Self {
        let (requests, bytes) = (Bucket::default(), Bucket::default());
        let (whole, asked) = (Allowance::default(), Asked::since(now));
        Self { requests, bytes, under_way: 0, weight: 1, whole, share: WHOLE, asked }
    }

    pub fn set(&mut self, whole: Allowance, share: u32) {
        (self.whole, self.share) = (whole, share);
    }

    /// Whether it is like new, so that it may be forgotten.
    pub fn is_idle(&self, now: Duration) -> bool {
        let allowance = self.whole.part(self.share);
        let is_whole = |bucket: Bucket, rate: Option<Rate>| rate.is_none_or(|rate| bucket.is_empty(rate, now));
        self.under_way == 0 && is_whole(self.requests, allowance.requests) && is_whole(self.bytes, allowance.bytes)
    }

    /// Takes a request from the allowance; its rate and what is left of the burst, where there is one.
    pub fn take(&mut self, is_within_share: bool, now: Duration) -> Result<Option<(Rate, u64)>, Over> {
        self.asked.requests = self.asked.requests.saturating_add(1);
        let allowance = self.whole.part(self.share);
        if let Some(limit) = allowance.concurrent.filter(|limit| self.under_way >= *limit) {
            self.asked.crowded = self.asked.crowded.saturating_add(1);
            return Err(Over::Concurrent { limit });
        }
        if !is_within_share {
            return Err(Over::Share);
        }
        if let Some(rate) = allowance.bytes {
            self.bytes.has_room(rate, now).map_err(|after| Over::Bytes { after })?;
        }
        match allowance.requests {
            Some(rate) => {
                self.requests.take(rate, now).map(|left| Some((rate, left))).map_err(|after| Over::Requests { after })
            }
            None => Ok(None),
        }
    }

    pub fn passed(&mut self, bytes: u64, now: Duration) {
        if let Some(rate) = self.whole.part(self.share).bytes {
            self.bytes.charge(bytes, rate, now);
            self.asked.bytes = self.asked.bytes.saturating_add(bytes);
        }
    }

    pub fn counts_bytes(&self) -> bool {
        self.whole.bytes.is_some()
    }

    /// Whether it presses its share now and did not when this was last asked.
    pub fn begins_to_press(&mut self, now: Duration) -> bool {
        if self.asked.is_noted {
            return false;
        }
        if self.pressure(now) >= (self.share / 2).max(1) {
            self.asked.is_noted = true;
            return true;
        }
        if now.saturating_sub(self.asked.since) >= LEAST_SPAN {
            self.asked = Asked::since(now);
        }
        false
    }

    /// How hard it has pressed since this was last asked.
    pub fn told(&mut self, now: Duration) -> u32 {
        let pressure = self.pressure(now);
        self.asked = Asked::since(now);
        pressure
    }

    /// What was asked for, in millionths of what all routers together allow in that time.
    fn pressure(&self, now: Duration) -> u32 {
        let Asked { since, requests, bytes, crowded, .. } = &self.asked;
        let span = now.saturating_sub(*since).max(LEAST_SPAN).as_nanos();
        let of_rate = |used: u64, rate: Option<Rate>| match rate {
            Some(rate) => parts(u128::from(used) * 1_000_000_000, u128::from(rate.per_second.get()) * span),
            None => 0,
        };
        let places = u128::from(self.under_way) + u128::from(*crowded);
        let of_places = self.whole.concurrent.map_or(0, |limit| parts(places, limit.into()));
        of_rate(*requests, self.whole.requests).max(of_rate(*bytes, self.whole.bytes)).max(of_places)
    }
}

fn parts(used: u128, of: u128) -> u32 {
    u32::try_from(used.saturating_mul(WHOLE.into()) / of.max(1)).unwrap_or(u32::MAX)
}
