//! Creating, placing, fencing and removing tenants.

use super::*;
use crate::ops::{draining, moves};

#[tokio::test]
async fn a_tenant_is_placed_the_moment_it_exists() -> Done {
    let site = site().await?;
    let acme = create(&site.tenancy, "acme", "acme-corp").await?;
    assert_eq!(
        (acme.cell.as_deref(), acme.hosts.as_slice()),
        (Some("shared-1"), ["acme.localhost".to_owned()].as_slice())
    );
    let table = snapshot(&site.tenancy.0.pool).await?;
    let route = &table.routes[&tenant("acme")];
    assert_eq!((route.generation.0, route.cell.as_str()), (acme.generation.unsigned_abs(), "shared-1"));

    let (again, new) =
        tenants::create(&site.tenancy, &platform(), &tenant("acme"), born("acme-corp", None, None)).await?;
    assert_eq!((again.generation, new), (acme.generation, false));
    assert_eq!(snapshot(&site.tenancy.0.pool).await?.version, table.version, "the same again is no change");
    assert!(matches!(create(&site.tenancy, "acme", "globex-corp").await, Err(Error::Exists(_))));
    assert!(matches!(create(&site.tenancy, "global", "acme-corp").await, Err(Error::Invalid(_))));
    assert!(matches!(create(&site.tenancy, "other", "no-such-corp").await, Err(Error::Invalid(_))));
    Ok(())
}

#[tokio::test]
async fn the_first_tenant_makes_a_dedicated_cell_its_organisations() -> Done {
    let site = site().await?;
    let name = |organisation: &'static str, id: &'static str, caller: Caller| {
        let tenancy = site.tenancy.clone();
        async move { tenants::create(&tenancy, &caller, &tenant(id), born(organisation, Some("dedicated-1"), None)).await }
    };
    let early = name("globex-corp", "globex", admin_of("globex-corp")).await;
    assert!(matches!(early, Err(Error::Forbidden)), "only the platform gives a cell away");
    name("globex-corp", "globex", platform()).await?;
    assert!(matches!(name("acme-corp", "acme", platform()).await, Err(Error::Placement(_))));
    let (second, _) =
        tenants::create(&site.tenancy, &admin_of("globex-corp"), &tenant("globex-2"), born("globex-corp", None, None))
            .await?;
    assert_eq!(second.cell.as_deref(), Some("dedicated-1"), "its own cell is preferred");
    put_cell(&site.tenancy, "dedicated-1", 2, CellKind::Dedicated).await?;
    let status = cells::find(&site.tenancy, &platform(), "dedicated-1").await?;
    assert_eq!(status.cell.organisation.as_deref(), Some("globex-corp"), "a site's next start does not free it");
    Ok(())
}

#[tokio::test]
async fn a_new_generation_fences_and_is_remembered() -> Done {
    let site = site().await?;
    let first = create(&site.tenancy, "acme", "acme-corp").await?.generation;
    create(&site.tenancy, "globex", "globex-corp").await?;
    let second = tenants::place(&site.tenancy, &admin_of("acme-corp"), &tenant("acme"), "shared-1").await?.generation;
    assert!(second > first + 1, "no two tenants share a generation");
    let elsewhere = tenants::place(&site.tenancy, &platform(), &tenant("acme"), "dedicated-1").await;
    assert!(matches!(elsewhere, Err(Error::NoMoves)));
    let history = tenants::placements(&site.tenancy, &platform(), &tenant("acme"), None, 10).await?;
    assert_eq!(history.iter().map(|(generation, _, _)| *generation).collect::<Vec<_>>(), [second, first]);
    assert_eq!(replay(&site.tenancy.0.pool).await?, snapshot(&site.tenancy.0.pool).await?);
    Ok(())
}

#[tokio::test]
async fn a_removed_tenant_leaves_the_table_and_its_id_stays_taken() -> Done {
    let site = site().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    tenants::remove(&site.tenancy, &admin_of("acme-corp"), &tenant("acme")).await?;
    assert!(snapshot(&site.tenancy.0.pool).await?.routes.is_empty());
    assert_eq!(site.tenancy.organisation_of(&tenant("acme")).await?, None);
    assert!(matches!(create(&site.tenancy, "acme", "acme-corp").await, Err(Error::Exists(_))));
    assert!(matches!(tenants::find(&site.tenancy, &platform(), &tenant("acme")).await, Err(Error::NotFound(_))));
    Ok(())
}

#[tokio::test]
async fn no_two_tenants_share_a_host() -> Done {
    let site = site().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    create(&site.tenancy, "globex", "globex-corp").await?;
    let add = |id: &'static str, host: &'static str| {
        let tenancy = site.tenancy.clone();
        async move { tenants::add_host(&tenancy, &platform(), &tenant(id), host).await }
    };
    let hosts = add("acme", "Data.Acme.Example").await?.hosts;
    assert_eq!(hosts, ["acme.localhost", "data.acme.example"]);
    assert!(matches!(add("globex", "data.acme.example").await, Err(Error::Exists(_))));
    assert!(matches!(add("globex", "acme.localhost").await, Err(Error::Invalid(_))));
    let hosts = add("globex", "*.Data.Acme.Example").await?.hosts;
    assert_eq!(hosts, ["globex.localhost", "*.data.acme.example"]);
    assert!(matches!(add("acme", "*.data.acme.example").await, Err(Error::Exists(_))));
    assert!(matches!(add("globex", "*.acme.localhost").await, Err(Error::Invalid(_))));
    assert!(matches!(add("globex", "not a host").await, Err(Error::Invalid(_))));
    tenants::remove_host(&site.tenancy, &platform(), &tenant("acme"), "data.acme.example").await?;
    assert!(add("globex", "data.acme.example").await.is_ok());
    assert_eq!(replay(&site.tenancy.0.pool).await?, snapshot(&site.tenancy.0.pool).await?);
    Ok(())
}

#[tokio::test]
async fn another_organisations_administrator_is_a_stranger() -> Done {
    let site = site().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    let (tenancy, acme) = (&site.tenancy, tenant("acme"));
    for stranger in [admin_of("globex-corp"), member_of("acme-corp")] {
        let unknown = |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::NotFound(_))), "{outcome:?}");
        unknown(tenants::find(tenancy, &stranger, &acme).await.map(drop));
        unknown(tenants::remove(tenancy, &stranger, &acme).await);
        unknown(tenants::place(tenancy, &stranger, &acme, "shared-1").await.map(drop));
        unknown(tenants::placements(tenancy, &stranger, &acme, None, 10).await.map(drop));
        unknown(tenants::add_host(tenancy, &stranger, &acme, "a.example").await.map(drop));
        unknown(tenants::remove_host(tenancy, &stranger, &acme, "a.example").await.map(drop));
        unknown(organisations::find(tenancy, &stranger, "acme-corp").await.map(drop));
        assert!(tenants::list(tenancy, &stranger, Some("acme-corp"), None, 10).await?.is_empty());
        let created = tenants::create(tenancy, &stranger, &tenant("evil"), born("acme-corp", None, None)).await;
        assert!(matches!(created, Err(Error::Forbidden)));
    }
    Ok(())
}

#[tokio::test]
async fn tenants_that_are_apart_never_share_a_cell() -> Done {
    let site = site().await?;
    let (tenancy, pool) = (&site.tenancy, &site.tenancy.0.pool);
    put_cell(tenancy, "shared-2", 3, CellKind::Shared).await?;
    let apart = |cell| Birth { apart: Some("replica"), ..born("acme-corp", cell, None) };
    let create = async |id: &str, cell| tenants::create(tenancy, &platform(), &tenant(id), apart(cell)).await;
    let first = create("replica-1", Some("shared-2")).await?.0;
    assert_eq!(create("replica-2", None).await?.0.cell.as_deref(), Some("shared-1"));
    assert!(matches!(create("replica-3", None).await, Err(Error::Placement(_))), "no cell is left");
    assert!(matches!(create("replica-1", Some("shared-1")).await, Err(Error::Exists(_))));
    let (same, new) = create("replica-1", None).await?;
    assert!(!new && same.generation == first.generation);
    let wrong = Birth { apart: Some("Not a word"), ..born("acme-corp", None, None) };
    let refused = tenants::create(tenancy, &platform(), &tenant("other"), wrong).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));

    // Neither does a move bring them together, nor the emptying of a cell; and one on its way counts there already.
    let to = async |id: &str, cell: &str| moves::begin(tenancy, &platform(), &tenant(id), cell).await;
    assert!(matches!(to("replica-1", "shared-1").await, Err(Error::Placement(_))));
    let emptied = draining::plan(tenancy, &platform(), &cell("shared-2"), None).await;
    assert!(matches!(emptied, Err(Error::Placement(_))));
    put_cell(tenancy, "shared-3", 4, CellKind::Shared).await?;
    to("replica-1", "shared-3").await?;
    assert!(matches!(to("replica-2", "shared-3").await, Err(Error::Placement(_))));
    let plan = draining::plan(tenancy, &platform(), &cell("shared-1"), None).await;
    assert!(matches!(plan, Err(Error::Placement(_))), "it would meet the other where it is, or where it goes");
    assert_eq!(replay(pool).await?, snapshot(pool).await?);
    Ok(())
}
