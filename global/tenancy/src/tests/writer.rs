//! One writer, fenced; a log without gaps.

use super::*;

#[tokio::test]
async fn one_process_writes_and_the_next_takes_over_when_it_ends() -> Done {
    let site = site().await?;
    let second = start(&site.tenancy.0.pool).await?;
    assert!(!second.tenancy.is_writer());
    assert!(matches!(create(&second.tenancy, "acme", "acme-corp").await, Err(Error::NotWriter)));
    assert!(site.tasks.drain(Duration::from_secs(60)).await);
    assert!(!site.tenancy.is_writer());
    assert!(second.tenancy.elected(Duration::from_secs(60)).await);
    create(&second.tenancy, "acme", "acme-corp").await?;
    Ok(())
}

#[tokio::test]
async fn a_deposed_writer_that_noticed_nothing_cannot_commit() -> Done {
    let site = site().await?;
    let before = snapshot(&site.tenancy.0.pool).await?;
    // What a successor does when it wins the lock.
    sqlx::query("update writer set term = term + 1").execute(&site.tenancy.0.pool).await?;
    assert!(site.tenancy.is_writer(), "it still believes so");
    assert!(matches!(create(&site.tenancy, "acme", "acme-corp").await, Err(Error::NotWriter)));
    assert_eq!(snapshot(&site.tenancy.0.pool).await?, before);
    Ok(())
}

#[tokio::test]
async fn concurrent_changes_leave_no_gap_and_no_twin() -> Done {
    let site = site().await?;
    let create_one = |n: usize| {
        let tenancy = site.tenancy.clone();
        // Every tenant is asked for twice.
        async move {
            tenants::create(&tenancy, &platform(), &tenant(&format!("t-{}", n / 2)), born("acme-corp", None, None))
                .await
        }
    };
    let made = futures::future::join_all((0..24).map(create_one)).await;
    let fresh = made.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().filter(|(_, new)| *new).count();
    assert_eq!(fresh, 12);
    let table = replay(&site.tenancy.0.pool).await?;
    assert_eq!(table, snapshot(&site.tenancy.0.pool).await?);
    let mut generations: Vec<u64> = table.routes.values().map(|r| r.generation.0).collect();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), 12);
    Ok(())
}

#[tokio::test]
async fn history_cannot_be_rewritten() -> Done {
    let site = site().await?;
    let pool = &site.tenancy.0.pool;
    assert!(sqlx::query("update routing_log set actor = 'nobody'").execute(pool).await.is_err());
    assert!(sqlx::query("delete from routing_log").execute(pool).await.is_err());
    assert!(sqlx::query("truncate routing_log").execute(pool).await.is_err());
    Ok(())
}
