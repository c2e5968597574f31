//! A tenant's rows out of one database and into another.

use anyhow::{Result, ensure};
use bytes::Bytes;
use contracts::{Generation, TenantId};
use futures::{StreamExt, TryStreamExt, stream};
use kit::database::Database;
use kit::moving::{MovingError, TenantTable, fence, put_in, remove, take_out, undeclared};

use super::{add, at, count, database};

const TABLES: &[TenantTable] = &[TenantTable::rows("thing")];

async fn taken(database: &Database, tenant: &TenantId) -> Result<Vec<Bytes>> {
    Ok(take_out(database, TABLES, tenant).await?.try_collect().await?)
}

async fn put(database: &Database, tenant: &TenantId, at: u64, pieces: Vec<Bytes>) -> Result<(), MovingError> {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    put_in(database, TABLES, tenant, Generation(at), pieces).await.map(drop)
}

async fn things(database: &Database, tenant: &str, generation: u64) -> Result<i64> {
    count(&mut *database.begin(&at(tenant, generation)?).await?).await
}

#[tokio::test]
async fn a_tenants_rows_are_put_in_as_they_were_taken_out_and_nobody_elses() -> Result<()> {
    let (from, to) = (database().await?, database().await?);
    let acme = TenantId::new("acme")?;
    for name in ["one", "two \"quoted\" \\ ü", "three"] {
        add(&from, &at("acme", 5)?, "acme", name).await?;
    }
    add(&from, &at("globex", 5)?, "globex", "other").await?;
    add(&to, &at("acme", 4)?, "acme", "left here before").await?;
    add(&to, &at("globex", 5)?, "globex", "neighbour").await?;
    let rows = taken(&from, &acme).await?;
    for _again in 0..2 {
        put(&to, &acme, 7, rows.clone()).await?;
        ensure!(things(&to, "acme", 7).await? == 3 && things(&to, "globex", 5).await? == 1);
    }
    let late = add(&to, &at("acme", 6)?, "acme", "stale").await.unwrap_err();
    ensure!(matches!(late, kit::database::DatabaseError::Fenced { required: Generation(7) }), "{late}");
    remove(&to, TABLES, &acme, Generation(7)).await?;
    ensure!(things(&to, "acme", 7).await? == 0 && things(&to, "globex", 5).await? == 1);
    Ok(())
}

#[tokio::test]
async fn rows_that_are_not_whole_or_not_the_tenants_leave_everything_as_it_was() -> Result<()> {
    let (from, to) = (database().await?, database().await?);
    let acme = TenantId::new("acme")?;
    add(&from, &at("acme", 5)?, "acme", "one").await?;
    add(&to, &at("acme", 4)?, "acme", "before").await?;
    let rows = String::from_utf8(taken(&from, &acme).await?.concat())?;
    let end = rows.lines().last().map(|line| format!("{line}\n")).unwrap_or_default();
    let first = rows.lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
    for (spoilt, is_right) in [
        (first.clone(), (|e| matches!(e, MovingError::NotWhole)) as fn(&MovingError) -> bool),
        (end.clone(), |e| matches!(e, MovingError::Differs(_))),
        (format!("{first}{first}{end}"), |e| matches!(e, MovingError::Database(_))),
        (rows.replace("acme", "globex"), |e| matches!(e, MovingError::Database(_))),
        (rows.replace("\"thing\"", "\"tenant_fence\""), |e| matches!(e, MovingError::Malformed(1))),
        (rows.replace("one", "two"), |e| matches!(e, MovingError::Differs(_))),
        ("nonsense\n".to_owned(), |e| matches!(e, MovingError::Malformed(1))),
        (format!("{rows}{first}"), |e| matches!(e, MovingError::Malformed(_))),
    ] {
        let refused = put(&to, &acme, 7, vec![spoilt.clone().into()]).await.unwrap_err();
        ensure!(is_right(&refused), "{refused:?} for {spoilt}");
        ensure!(things(&to, "acme", 4).await? == 1, "{spoilt}");
    }
    // A sender that breaks off.
    let broken =
        stream::iter([Ok(Bytes::from(first))]).chain(stream::once(async { Err(std::io::Error::other("gone")) }));
    let refused = put_in(&to, TABLES, &acme, Generation(7), broken).await.unwrap_err();
    ensure!(matches!(refused, MovingError::NotWhole), "{refused:?}");
    put(&to, &acme, 7, vec![rows.into()]).await?;
    ensure!(things(&to, "acme", 7).await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_fence_waits_for_those_who_write_and_lets_nobody_older_in() -> Result<()> {
    let database = database().await?;
    let acme = TenantId::new("acme")?;
    add(&database, &at("acme", 5)?, "acme", "one").await?;
    let mut writing = database.begin(&at("acme", 5)?).await?;
    sqlx::query("insert into thing values ('acme', 'two')").execute(&mut *writing).await?;
    let fencing = tokio::spawn({
        let (database, acme) = (database.clone(), acme.clone());
        async move { fence(&database, &acme, Generation(6)).await }
    });
    super::somebody_waits(&database).await?;
    writing.commit().await?;
    fencing.await??;
    ensure!(add(&database, &at("acme", 5)?, "acme", "late").await.is_err());
    ensure!(things(&database, "acme", 6).await? == 2);
    ensure!(fence(&database, &acme, Generation(5)).await.is_err(), "a fence does not go down");
    Ok(())
}

#[tokio::test]
async fn a_table_of_tenants_that_nobody_declared_is_named() -> Result<()> {
    let database = database().await?;
    ensure!(undeclared(&database, TABLES).await?.is_empty());
    ensure!(undeclared(&database, &[]).await? == ["thing"]);
    let twice = [TABLES[0], TenantTable::rows("absent")];
    ensure!(undeclared(&database, &twice).await? == ["absent"]);
    Ok(())
}
