//! This router's part of what each tenant may use (docs/adr/0019-routers-share-a-limit.md).

use std::collections::HashMap;

use contracts::TenantId;
use contracts::shares::{self, MOST_USES, Report, Use, WHOLE};
use uuid::Uuid;

/// In millionths. Everything, until something else is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    rest: u32,
    named: HashMap<TenantId, u32>,
}

impl Default for Shares {
    fn default() -> Self {
        Self { rest: WHOLE, named: HashMap::new() }
    }
}

impl From<shares::Shares> for Shares {
    fn from(told: shares::Shares) -> Self {
        let named = told.shares.into_iter().take(MOST_USES).map(|share| (share.tenant, share.share.min(WHOLE)));
        Self { rest: told.rest.min(WHOLE), named: named.collect() }
    }
}

impl Shares {
    pub fn of(&self, tenant: &TenantId) -> u32 {
        if self.named.is_empty() {
            return self.rest;
        }
        self.named.get(tenant).copied().unwrap_or(self.rest)
    }

    /// Of each tenant without a share of its own.
    pub fn rest(&self) -> u32 {
        self.rest
    }

    /// Tenants with a share of their own.
    pub fn named(&self) -> impl ExactSizeIterator<Item = &TenantId> {
        self.named.keys()
    }

    /// Everybody with a share of its own is in it, then the hardest pressed.
    pub fn report(&self, router: Uuid, pressures: HashMap<TenantId, u32>) -> Report {
        let mut uses: Vec<Use> =
            pressures.into_iter().map(|(tenant, pressure)| Use { share: self.of(&tenant), tenant, pressure }).collect();
        uses.sort_unstable_by_key(|held| std::cmp::Reverse((self.named.contains_key(&held.tenant), held.pressure)));
        uses.truncate(MOST_USES);
        Report { router, rest: self.rest, uses, loads: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_before_what_is_pressed() {
        let tenant = |number: usize| TenantId::new(format!("t-{number}")).unwrap();
        let named = shares::Share { tenant: tenant(0), share: 7 };
        let shares = Shares::from(shares::Shares { rest: 500_000, shares: vec![named] });
        let pressures = (0..2 * MOST_USES).map(|number| (tenant(number), number as u32));
        let report = shares.report(Uuid::nil(), pressures.collect());
        assert_eq!(report.uses.len(), MOST_USES);
        assert_eq!(report.uses[0], Use { tenant: tenant(0), share: 7, pressure: 0 });
        let hardest = Use { tenant: tenant(1_999), share: 500_000, pressure: 1_999 };
        assert_eq!((&report.uses[1], report.rest), (&hardest, 500_000));
    }
}
