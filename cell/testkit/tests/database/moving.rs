//! A tenant's rows out of one database and into another.

use anyhow::{Result, ensure};
use bytes::Bytes;
use contracts::{Generation, TenantId};
use futures::{StreamExt, TryStreamExt, stream};
use kit::database::Database;
use kit::moving::{Kept, MovingError, Part, TenantTable, fence, kept, put_in, remove, take_out, undeclared};

use super::{add, at, count, database};

const TABLES: &[TenantTable] = &[TenantTable::rows("thing"), TenantTable::kept("link", "number")];

async fn taken(database: &Database, tenant: &TenantId) -> Result<Vec<Bytes>> {
    Ok(take_out(database, TABLES, tenant, Part::All, Kept::new()).await?.try_collect().await?)
}

async fn put(database: &Database, tenant: &TenantId, at: u64, pieces: Vec<Bytes>) -> Result<(), MovingError> {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    put_in(database, TABLES, tenant, Generation(at), Part::All, pieces).await.map(drop)
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
    let refused = put_in(&to, TABLES, &acme, Generation(7), Part::All, broken).await.unwrap_err();
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
    let mut strange = undeclared(&database, &[]).await?;
    strange.sort_unstable();
    ensure!(strange == ["link", "thing"]);
    let twice = [TABLES[0], TABLES[1], TenantTable::rows("absent")];
    ensure!(undeclared(&database, &twice).await? == ["absent"]);
    Ok(())
}

/// Adds the links `from..to` of a branch of a chain.
async fn link(database: &Database, tenant: &str, branch: &str, numbers: std::ops::Range<i64>) -> Result<()> {
    let mut tx = database.begin(&at(tenant, 5)?).await?;
    for number in numbers {
        let add = "insert into link values ($1, $2, $3 || ($2 - 1)::text, $3 || $2::text)";
        sqlx::query(add).bind(tenant).bind(number).bind(branch).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Brings what is missing; how many links that were.
async fn bring(from: &Database, to: &Database, part: Part, generation: u64) -> Result<usize, MovingError> {
    let acme = TenantId::new("acme").unwrap();
    let known = kept(to, TABLES, &acme).await?;
    let pieces: Vec<Bytes> = take_out(from, TABLES, &acme, part, known).await?.try_collect().await?;
    let text = String::from_utf8(pieces.concat()).unwrap();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    put_in(to, TABLES, &acme, Generation(generation), part, pieces).await?;
    Ok(text.lines().filter(|line| line.contains("\"table\":\"link\"")).count())
}

async fn links(database: &Database) -> Result<Vec<String>> {
    let mut tx = database.begin_system().await?;
    let all = "select name from link where tenant_id = 'acme' order by number";
    Ok(sqlx::query_scalar(all).fetch_all(&mut *tx).await?)
}

#[tokio::test]
async fn kept_rows_come_while_their_tenant_works_and_none_of_them_twice() -> Result<()> {
    let (from, to) = (database().await?, database().await?);
    link(&from, "acme", "a", 1..501).await?;
    link(&from, "globex", "g", 1..9).await?;
    add(&from, &at("acme", 5)?, "acme", "one").await?;
    ensure!(bring(&from, &to, Part::Kept, 5).await? == 500);
    ensure!(things(&to, "acme", 5).await? == 0, "only kept rows");
    ensure!(bring(&from, &to, Part::Kept, 5).await? == 0);
    link(&from, "acme", "a", 501..504).await?;
    ensure!(bring(&from, &to, Part::All, 6).await? == 3);
    ensure!(links(&to).await? == links(&from).await?.iter().take(503).cloned().collect::<Vec<_>>());
    ensure!(things(&to, "acme", 6).await? == 1);
    let late = bring(&from, &to, Part::Kept, 5).await.unwrap_err();
    ensure!(matches!(late, MovingError::Database(kit::database::DatabaseError::Fenced { .. })), "{late}");
    Ok(())
}

#[tokio::test]
async fn kept_rows_of_another_chain_are_not_taken_for_known_ones() -> Result<()> {
    let (from, to) = (database().await?, database().await?);
    link(&from, "acme", "a", 1..11).await?;
    link(&to, "acme", "b", 1..4).await?;
    // All of them are sent, and those whose place is taken stay what they were.
    ensure!(bring(&from, &to, Part::Kept, 5).await? == 10);
    let there = links(&to).await?;
    ensure!(there[..3] == ["b1", "b2", "b3"] && there[3..] == ["a4", "a5", "a6", "a7", "a8", "a9", "a10"], "{there:?}");
    Ok(())
}
