//! Tiers: who gives them, and that the routers' table has them.

use contracts::TierId;
use contracts::tiers::Tier;

use super::*;
use crate::ops::tiers;

fn gold(requests_per_second: u32) -> Tier {
    let tier = TierId::new("gold").unwrap();
    Tier { requests_per_second, request_burst: 10, ..Tier::unlimited(tier) }
}

#[tokio::test]
async fn a_tier_reaches_the_table_with_its_tenants() -> Done {
    let site = site().await?;
    let (tenancy, pool) = (&site.tenancy, &site.tenancy.0.pool);
    tiers::put(tenancy, &platform(), &gold(5)).await?;
    create(tenancy, "acme", "acme-corp").await?;
    let of_gold = tenants::set_tier(tenancy, &platform(), &tenant("acme"), &gold(5).tier).await?;
    assert_eq!(of_gold.tier.as_deref(), Some("gold"));
    let table = snapshot(pool).await?;
    assert_eq!(table.routes[&tenant("acme")].tier, gold(5).tier);
    assert_eq!(table.tiers[&gold(5).tier], gold(5));
    assert_eq!(replay(pool).await?, table);
    // The same again is no change; another number is one.
    tiers::put(tenancy, &platform(), &gold(5)).await?;
    tenants::set_tier(tenancy, &platform(), &tenant("acme"), &gold(5).tier).await?;
    assert_eq!(snapshot(pool).await?.version, table.version);
    tiers::put(tenancy, &platform(), &gold(6)).await?;
    assert_eq!(snapshot(pool).await?.version, table.version + 1);
    assert_eq!(replay(pool).await?, snapshot(pool).await?);
    Ok(())
}

#[tokio::test]
async fn a_tier_with_tenants_stays_and_the_standard_one_needs_no_row() -> Done {
    let site = site().await?;
    let tenancy = &site.tenancy;
    tiers::put(tenancy, &platform(), &gold(5)).await?;
    let (acme, gold_id) = (tenant("acme"), gold(5).tier);
    tenants::create(tenancy, &platform(), &acme, born("acme-corp", None, Some(&gold_id))).await?;
    assert!(matches!(tiers::remove(tenancy, &platform(), &gold_id).await, Err(Error::TierInUse)));
    tenants::set_tier(tenancy, &platform(), &acme, &TierId::default()).await?;
    tiers::remove(tenancy, &platform(), &gold_id).await?;
    assert!(matches!(tiers::remove(tenancy, &platform(), &gold_id).await, Err(Error::NotFound("tier"))));
    let gone = tenants::set_tier(tenancy, &platform(), &acme, &gold_id).await;
    assert!(matches!(gone, Err(Error::Invalid(_))));
    assert_eq!(replay(&tenancy.0.pool).await?, snapshot(&tenancy.0.pool).await?);
    Ok(())
}

#[tokio::test]
async fn only_the_platform_says_what_a_tenant_may_use() -> Done {
    let site = site().await?;
    let tenancy = &site.tenancy;
    tiers::put(tenancy, &platform(), &gold(5)).await?;
    create(tenancy, "acme", "acme-corp").await?;
    let (own, acme) = (admin_of("acme-corp"), tenant("acme"));
    assert!(matches!(tiers::put(tenancy, &own, &gold(9)).await, Err(Error::Forbidden)));
    assert!(matches!(tiers::remove(tenancy, &own, &gold(9).tier).await, Err(Error::Forbidden)));
    assert!(matches!(tenants::set_tier(tenancy, &own, &acme, &gold(5).tier).await, Err(Error::Forbidden)));
    let created = tenants::create(tenancy, &own, &tenant("acme-2"), born("acme-corp", None, Some(&gold(5).tier))).await;
    assert!(matches!(created, Err(Error::Forbidden)));
    let stranger = tenants::set_tier(tenancy, &admin_of("globex-corp"), &acme, &gold(5).tier).await;
    assert!(matches!(stranger, Err(Error::NotFound("tenant"))));
    assert_eq!(tiers::list(tenancy, &own, None, None, 10).await?, [gold(5)]);
    assert!(matches!(tiers::list(tenancy, &member_of("acme-corp"), None, None, 10).await, Err(Error::Forbidden)));
    let unsound = Tier { request_burst: 0, ..gold(5) };
    assert!(matches!(tiers::put(tenancy, &platform(), &unsound).await, Err(Error::Invalid(_))));
    Ok(())
}
