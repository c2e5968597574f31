//! Groups of routers, of which each tenant is served by a few (docs/adr/0025-router-groups.md).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::GroupId;

/// Groups of a whole site at most.
pub const MOST_GROUPS: usize = 100;

/// How many of them serve a tenant, where there are more.
const EACH: usize = 2;

/// All groups. Without any, every router serves everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    pub ids: BTreeSet<GroupId>,
}

impl Groups {
    /// Those that serve a tenant: the ones it scores highest with. Two tenants that share one group most likely do not
    /// share another; and a group that comes or goes changes only who is served by it.
    pub fn of(&self, tenant: &str) -> Vec<&GroupId> {
        self.ids.iter().filter(|group| self.serve(group, tenant)).collect()
    }

    /// Whether a router of the group serves the tenant. One whose group is not among them serves everybody.
    pub fn serve(&self, group: &GroupId, tenant: &str) -> bool {
        if !self.ids.contains(group) {
            return true;
        }
        let own = (score(group, tenant), group);
        let better = self.ids.iter().filter(|other| (score(other, tenant), *other) > own).count();
        better < EACH
    }
}

/// Every process of a site must come to the same number: it depends on the two names and on nothing else.
fn score(group: &GroupId, tenant: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = tenant.bytes().chain([0]).chain(group.as_str().bytes());
    let mut mixed = bytes.fold(0xcbf2_9ce4_8422_2325, fnv);
    // FNV leaves the last bytes, the group's, in the low bits only.
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn groups(count: usize) -> Groups {
        let ids = (0..count).map(|number| GroupId::new(format!("group-{number}")).unwrap()).collect();
        Groups { ids }
    }

    fn tenants() -> impl Iterator<Item = String> {
        (0..10_000).map(|number| format!("tenant-{number}"))
    }

    #[test]
    fn every_pair_of_groups_has_its_share_of_the_tenants() {
        let groups = groups(8);
        let mut pairs: BTreeMap<Vec<&GroupId>, u32> = BTreeMap::new();
        for tenant in tenants() {
            *pairs.entry(groups.of(&tenant)).or_default() += 1;
        }
        // 28 pairs of 8 groups; 357 tenants each on average.
        assert_eq!(pairs.len(), 28);
        assert!(pairs.iter().all(|(pair, count)| pair.len() == 2 && (250..470).contains(count)), "{pairs:?}");
    }

    #[test]
    fn a_group_that_comes_takes_its_share_and_moves_nobody_else() {
        let (before, after) = (groups(8), groups(9));
        let new = GroupId::new("group-8").unwrap();
        let mut came = 0;
        for tenant in tenants() {
            let (had, has) = (before.of(&tenant), after.of(&tenant));
            let left = had.iter().filter(|group| !has.contains(group)).count();
            came += usize::from(has.contains(&&new));
            assert_eq!(left, usize::from(has.contains(&&new)), "{tenant}");
        }
        // Two in nine of 10,000.
        assert!((2_000..2_450).contains(&came), "{came}");
    }

    #[test]
    fn few_groups_serve_everybody_and_so_does_one_that_is_not_among_them() {
        assert_eq!(groups(2).of("acme").len(), 2);
        assert!(groups(0).of("acme").is_empty());
        let unknown = GroupId::new("elsewhere").unwrap();
        assert!(groups(8).serve(&unknown, "acme") && groups(0).serve(&unknown, "acme"));
    }

    /// Routers of one site may be of two releases.
    #[test]
    fn who_serves_whom_stays() {
        let of = |tenant| groups(8).of(tenant).into_iter().map(GroupId::to_string).collect::<Vec<_>>();
        assert_eq!([of("acme"), of("globex")], [["group-1", "group-4"], ["group-0", "group-5"]]);
    }
}
