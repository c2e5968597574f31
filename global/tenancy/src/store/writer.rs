//! The elected writer and the numbers only it issues.

use sqlx::PgConnection;

use crate::error::Error;

/// Tries to become the writer: the lock lives as long as this connection does, so a dead process
/// gives it up at once. Answers the new term.
pub async fn campaign(db: &mut PgConnection) -> Result<Option<i64>, Error> {
    let (won,): (bool,) =
        sqlx::query_as("select pg_try_advisory_lock(hashtext('tenancy/writer'))").fetch_one(&mut *db).await?;
    if !won {
        return Ok(None);
    }
    let (term,): (i64,) = sqlx::query_as("update writer set term = term + 1 returning term").fetch_one(db).await?;
    Ok(Some(term))
}

/// Whether the connection that holds the lock is alive.
pub async fn ping(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select 1").execute(db).await?;
    Ok(())
}

/// Locks the writer's row to the end of the transaction and refuses an older term: a process that
/// was replaced cannot commit, however late it wakes up.
pub async fn fence(db: &mut PgConnection, term: i64) -> Result<(), Error> {
    let (current,): (i64,) = sqlx::query_as("select term from writer for update").fetch_one(db).await?;
    if current == term { Ok(()) } else { Err(Error::NotWriter) }
}

/// The next generation. Call only after [`fence`].
pub async fn next_generation(db: &mut PgConnection) -> Result<i64, Error> {
    next_generations(db, 1).await
}

/// So many generations, the first of which is answered. Call only after [`fence`].
pub async fn next_generations(db: &mut PgConnection, count: usize) -> Result<i64, Error> {
    let (last,): (i64,) = sqlx::query_as("update writer set generation = generation + $1 returning generation")
        .bind(count as i64)
        .fetch_one(db)
        .await?;
    Ok(last - count as i64 + 1)
}

/// So many versions of the routing log, the last of which is answered; in so many of them a tenant is `removed`. Call
/// only after [`fence`].
pub async fn next_versions(db: &mut PgConnection, count: usize, removed: usize) -> Result<i64, Error> {
    let (last,): (i64,) =
        sqlx::query_as("update writer set version = version + $1, removed = removed + $2 returning version")
            .bind(count as i64)
            .bind(removed as i64)
            .fetch_one(db)
            .await?;
    Ok(last)
}
