//! A cell's databases as each service's own role sees them: nothing without a tenant, nothing of others.

use std::sync::Arc;

use anyhow::{Context, ensure};
use contracts::services::{SERVICES, database_name};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::world::{SHARED, World};

fn options(world: &World, user: &str, secret: &str, database: &str) -> anyhow::Result<PgConnectOptions> {
    options_in(world, SHARED, user, secret, database)
}

fn options_in(world: &World, cell: &str, user: &str, secret: &str, database: &str) -> anyhow::Result<PgConnectOptions> {
    let address = world.site.cell_address(cell).context("no address")?;
    let password = std::fs::read_to_string(world.site.cell_dir(cell).join("secrets").join(secret))?;
    Ok(PgConnectOptions::new_without_pgpass()
        .host(&address.to_string())
        .username(user)
        .password(password.trim())
        .database(database))
}

async fn tenant_tables(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let found = sqlx::query_scalar(
        "select c.table_name::text from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
         where c.table_schema = 'public' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE' order by 1",
    );
    Ok(found.fetch_all(connection).await?)
}

async fn count(connection: &mut PgConnection, table: &str) -> anyhow::Result<i64> {
    let sql = AssertSqlSafe(format!("select count(*) from \"{table}\""));
    sqlx::query_scalar(sql).fetch_one(connection).await.with_context(|| table.to_owned())
}

/// What every table of a cell holds of a tenant: service, table, rows.
pub async fn rows_of(world: &World, cell: &str, tenant: &str) -> anyhow::Result<Vec<(String, String, i64)>> {
    let mut all = Vec::new();
    for service in SERVICES.iter().filter(|service| service.database) {
        let name = database_name(service.name);
        let mut admin = options_in(world, cell, "postgres", "admin.postgres", &name)?.connect().await?;
        for table in tenant_tables(&mut admin).await? {
            let sql = AssertSqlSafe(format!("select count(*) from \"{table}\" where tenant_id = $1"));
            let rows = sqlx::query_scalar(sql).bind(tenant).fetch_one(&mut admin).await?;
            all.push((service.name.to_owned(), table, rows));
        }
    }
    Ok(all)
}

/// Row-level security is forced: not even the tables' owner reads a row without saying for whom.
pub async fn a_role_sees_no_row_without_a_tenant(world: Arc<World>) -> anyhow::Result<()> {
    let (mut tables, mut rows) = (0, 0);
    for service in SERVICES.iter().filter(|service| service.database) {
        let name = database_name(service.name);
        let mut own = options(&world, &name, &format!("{}.postgres", service.name), &name)?.connect().await?;
        let mut admin = options(&world, "postgres", "admin.postgres", &name)?.connect().await?;
        for table in tenant_tables(&mut admin).await? {
            let seen = count(&mut own, &table).await?;
            ensure!(seen == 0, "{name}.{table}: its role sees {seen} rows of nobody's");
            for sql in ["set row_security = off", "alter table \"?\" disable row level security"] {
                // The owner may say so; what it must not get by it is rows.
                let _ = sqlx::raw_sql(AssertSqlSafe(sql.replace('?', "no_such_table"))).execute(&mut own).await;
            }
            let off = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("select count(*) from \"{table}\"")))
                .fetch_one(&mut own)
                .await;
            ensure!(off.is_err() || off.is_ok_and(|seen| seen == 0), "{name}.{table}: rows without row security");
            sqlx::raw_sql("reset row_security").execute(&mut own).await?;
            rows += count(&mut admin, &table).await?;
            tables += 1;
        }
    }
    ensure!(tables >= 12 && rows > 0, "{tables} tables with {rows} rows prove little");
    Ok(())
}

pub async fn a_role_opens_no_other_database(world: Arc<World>) -> anyhow::Result<()> {
    let owners: Vec<_> = SERVICES.iter().filter(|service| service.database).collect();
    for service in &owners {
        let (name, secret) = (database_name(service.name), format!("{}.postgres", service.name));
        let others = owners.iter().map(|other| database_name(other.name)).filter(|other| *other != name);
        for other in others.chain(["postgres".to_owned(), "template1".to_owned()]) {
            let opened = options(&world, &name, &secret, &other)?.connect().await;
            ensure!(opened.is_err(), "the role of {name} opens {other}");
        }
        let wrong = options(&world, &name, &secret, &name)?.password("guess").connect().await;
        ensure!(wrong.is_err(), "{name} opens to a guessed password");
    }
    Ok(())
}
