//! A real Postgres for service tests: one cluster per test process, one database per test.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Context;
use kit::database::Database;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, PgPool};
use stack::alone::{self, Alone};
use stack::postgres::{Database as Declared, Postgres};
use stack::report::Reporter;
use tokio::sync::{Mutex, OnceCell};

use crate::folder;

/// Owner of every test database; an ordinary role, so that row-level security holds for it.
const OWNER: &str = "tester";

static SERVER: OnceCell<Alone<Postgres>> = OnceCell::const_new();
/// Templates that exist. Held while one is made: the second test of a crate waits for the first.
static TEMPLATES: OnceCell<Mutex<HashSet<String>>> = OnceCell::const_new();

fn secret() -> String {
    format!("{OWNER}.postgres")
}

async fn server() -> anyhow::Result<&'static Alone<Postgres>> {
    SERVER
        .get_or_try_init(|| async {
            let declared = vec![Declared { name: OWNER.to_owned(), secret: secret() }];
            let server = alone::postgres(&folder::fresh("postgres")?, declared, &Reporter::plain()).await;
            server.context("Postgres does not start")
        })
        .await
}

/// A database of this test alone, with the kit's tables and the service's migrations: a copy of a
/// template that is migrated once per process.
pub async fn database(migrator: &Migrator) -> anyhow::Result<Database> {
    let server = server().await?;
    let template = template(server, migrator).await?;
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut admin = server.driver.connect_as_admin("postgres").await?;
    execute(&mut admin, format!("create database {name} template {template} owner {OWNER}")).await?;
    admin.close().await?;
    Ok(Database::from_pool(pool(server, &name).await?))
}

async fn template(server: &Alone<Postgres>, migrator: &Migrator) -> anyhow::Result<String> {
    let mut hasher = DefaultHasher::new();
    for migration in migrator.iter() {
        (migration.version, &migration.checksum).hash(&mut hasher);
    }
    let name = format!("template_{:016x}", hasher.finish());
    let templates = TEMPLATES.get_or_init(|| async { Mutex::default() }).await;
    let mut known = templates.lock().await;
    if known.contains(&name) {
        return Ok(name);
    }
    let mut admin = server.driver.connect_as_admin("postgres").await?;
    execute(&mut admin, format!("create database {name} owner {OWNER}")).await?;
    admin.close().await?;
    let pool = pool(server, &name).await?;
    let migrated = Database::from_pool(pool.clone()).migrate(migrator).await;
    // A template with a connection cannot be copied.
    pool.close().await;
    migrated?;
    known.insert(name.clone());
    Ok(name)
}

async fn execute(connection: &mut sqlx::PgConnection, statement: String) -> anyhow::Result<()> {
    // Names are made here, of letters and digits only.
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

async fn pool(server: &Alone<Postgres>, database: &str) -> anyhow::Result<PgPool> {
    let (password, address) = (server.secrets.get_or_make(&secret())?, server.driver.address());
    let options = PgConnectOptions::new_without_pgpass()
        .host(&address.ip().to_string())
        .port(address.port())
        .database(database)
        .username(OWNER)
        .password(password.expose())
        .ssl_mode(PgSslMode::Disable);
    Ok(PgPoolOptions::new().max_connections(5).connect_with(options).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn migrator() -> Migrator {
        let sql =
            "create table things (tenant_id text not null, name text not null); select cyto_tenant_table('things');";
        let migration = sqlx::migrate::Migration::new(
            1,
            Cow::Borrowed("things"),
            sqlx::migrate::MigrationType::Simple,
            sqlx::SqlSafeStr::into_sql_str(sql),
            false,
        );
        Migrator { migrations: Cow::Owned(vec![migration]), ..Migrator::DEFAULT }
    }

    async fn names(database: &Database, tenant: &str) -> anyhow::Result<Vec<String>> {
        let mut tx = database.begin(&crate::scope(tenant)?).await?;
        Ok(sqlx::query_scalar("select name from things").fetch_all(&mut *tx).await?)
    }

    /// Whether a connection is outside of any transaction. One message, so that only what was begun before is older.
    async fn is_free(connection: &mut sqlx::PgConnection) -> anyhow::Result<bool> {
        let row = sqlx::raw_sql("select now() = statement_timestamp()").fetch_one(connection).await?;
        Ok(sqlx::Row::try_get(&row, 0)?)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_gives_up_while_a_transaction_begins_leaves_none_open() -> anyhow::Result<()> {
        let database = database(&migrator()).await?;
        let pool = database.pool();
        let mut given_up = 0;
        for polls in (1..3_000).step_by(5) {
            let mut begun = Box::pin(kit::database::begin(pool));
            let mut is_begun = false;
            for _ in 0..polls {
                is_begun = futures::poll!(&mut begun).is_ready();
                if is_begun {
                    break;
                }
                tokio::task::yield_now().await;
            }
            given_up += usize::from(!is_begun);
            drop(begun);
            let mut all = Vec::new();
            for _ in 0..pool.options().get_max_connections() {
                all.push(pool.acquire().await?);
            }
            for connection in &mut all {
                assert!(is_free(connection).await?, "after {polls} polls");
            }
        }
        assert!(given_up > 100, "{given_up} of 600 were given up");
        Ok(())
    }

    #[tokio::test]
    async fn every_test_has_a_database_of_its_own_and_every_tenant_its_rows() -> anyhow::Result<()> {
        let (first, second) = (database(&migrator()).await?, database(&migrator()).await?);
        let mut tx = first.begin(&crate::scope("acme")?).await?;
        sqlx::query("insert into things values ('acme', 'anvil')").execute(&mut *tx).await?;
        tx.commit().await?;
        assert_eq!(names(&first, "acme").await?, ["anvil"]);
        assert!(names(&first, "globex").await?.is_empty());
        assert!(names(&second, "acme").await?.is_empty());
        Ok(())
    }
}
