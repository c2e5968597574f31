//! Groups of routers: who makes them, whom they serve, and that routers hear of it.

use contracts::GroupId;

use super::*;
use crate::ops::groups;

fn group(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

#[tokio::test]
async fn a_group_takes_its_share_and_routers_hear_of_it() -> Done {
    let site = site().await?;
    let (tenancy, pool) = (&site.tenancy, &site.tenancy.0.pool);
    create(tenancy, "acme", "acme-corp").await?;
    assert!(groups::of_tenant(tenancy, &platform(), &tenant("acme")).await?.is_empty(), "any router serves it");
    for (number, name) in ["east", "middle", "north", "south", "west"].into_iter().enumerate() {
        groups::put(tenancy, &platform(), &group(name), &[format!("192.0.2.{number}")]).await?;
    }
    let table = snapshot(pool).await?;
    assert_eq!(table.groups.ids.len(), 5);
    assert_eq!(replay(pool).await?, table);
    // Another address is DNS's to know, not the routers'.
    groups::put(tenancy, &platform(), &group("east"), &["2001:db8::1".to_owned()]).await?;
    assert_eq!(snapshot(pool).await?.version, table.version);
    let serving = groups::of_tenant(tenancy, &admin_of("acme-corp"), &tenant("acme")).await?;
    let named: Vec<&str> = serving.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(named, table.groups.of("acme").into_iter().map(GroupId::as_str).collect::<Vec<_>>());
    assert!(named.len() == 2 && serving.iter().all(|group| group.addresses.len() == 1));

    groups::remove(tenancy, &platform(), &group(named[0])).await?;
    let left = groups::of_tenant(tenancy, &platform(), &tenant("acme")).await?;
    assert!(left.len() == 2 && left.iter().any(|group| group.id == named[1]), "{left:?}");
    assert_eq!(replay(pool).await?, snapshot(pool).await?);
    Ok(())
}

#[tokio::test]
async fn groups_are_the_platforms_to_make() -> Done {
    let site = site().await?;
    let tenancy = &site.tenancy;
    create(tenancy, "acme", "acme-corp").await?;
    let own = admin_of("acme-corp");
    assert!(matches!(groups::put(tenancy, &own, &group("east"), &[]).await, Err(Error::Forbidden)));
    assert!(matches!(groups::list(tenancy, &own).await, Err(Error::Forbidden)));
    assert!(matches!(groups::remove(tenancy, &own, &group("east")).await, Err(Error::Forbidden)));
    let stranger = groups::of_tenant(tenancy, &admin_of("globex-corp"), &tenant("acme")).await;
    assert!(matches!(stranger, Err(Error::NotFound("tenant"))));
    for wrong in ["router.example", "192.0.2.1:80", ""] {
        let put = groups::put(tenancy, &platform(), &group("east"), &[wrong.to_owned()]).await;
        assert!(matches!(put, Err(Error::Invalid(_))), "{wrong}");
    }
    assert!(matches!(groups::remove(tenancy, &platform(), &group("east")).await, Err(Error::NotFound(_))));
    Ok(())
}
