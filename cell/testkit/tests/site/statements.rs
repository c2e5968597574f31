//! Flight SQL through the router: what a tenant sees, and what it cannot even name.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use flight_sql::{CommandGetDbSchemas, CommandGetTables};

use crate::rows;
use crate::world::World;

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;

/// Texts of one column of metadata.
fn texts(batches: &[RecordBatch], column: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for batch in batches {
        let array = batch.column_by_name(column).with_context(|| format!("no column {column}"))?;
        let array = array.as_string_opt::<i32>().with_context(|| format!("{column} is {}", array.data_type()))?;
        found.extend((0..array.len()).filter(|row| !array.is_null(*row)).map(|row| array.value(row).to_owned()));
    }
    Ok(found)
}

/// Another tenant's tables do not exist: in the same cell and in another one, by every spelling.
pub async fn foreign_tables_do_not_exist(world: Arc<World>) -> anyhow::Result<()> {
    for other in [&world.neighbour.id, &world.globex.id] {
        for sql in [
            format!("select * from \"{other}\".datasets.secrets"),
            format!("select * from \"{other}\".\"datasets\".\"secrets\" limit 1"),
            format!("select count(*) from datasets.orders union all select count(*) from \"{other}\".datasets.secrets"),
            format!("select (select max(id) from \"{other}\".datasets.secrets) from datasets.orders"),
            format!("with s as (select * from \"{other}\".datasets.secrets) select * from s"),
            format!("explain select * from \"{other}\".datasets.secrets"),
            "select * from datasets.secrets".to_owned(),
            "select * from secrets".to_owned(),
        ] {
            let status = rows::refusal(&world.acme, &sql).await?;
            ensure!([INVALID_ARGUMENT, NOT_FOUND].contains(&(status.code() as i32)), "{sql}: {status:?}");
            ensure!(!status.message().contains("hidden"), "{sql} tells of the table: {status:?}");
        }
    }
    Ok(())
}

/// Statements that would reach around the catalog: files, settings, other people's memory.
pub async fn statements_reach_nothing_but_tables(world: Arc<World>) -> anyhow::Result<()> {
    for sql in [
        "create external table t stored as csv location '/etc/passwd'",
        "select * from '/etc/passwd'",
        "copy (select 1) to '/tmp/stolen.csv'",
        "set datafusion.execution.batch_size = 1",
        "create table t as select 1",
        "insert into datasets.orders select * from datasets.orders",
        "drop table datasets.orders",
    ] {
        let status = rows::refusal(&world.acme, sql).await?;
        ensure!((status.code() as i32) != 13, "{sql}: internal error {status:?}");
    }
    ensure!(rows::count(&world.acme, "datasets.orders").await? == 100);
    Ok(())
}

pub async fn metadata_lists_only_the_tenants_own(world: Arc<World>) -> anyhow::Result<()> {
    let client = world.acme.sql().await?;
    let catalogs = texts(&client.catalogs().await?, "catalog_name")?;
    ensure!(catalogs == BTreeSet::from([world.acme.id.clone()]), "{catalogs:?}");
    let schemas = client.schemas(CommandGetDbSchemas::default()).await?;
    let schemas = texts(&schemas, "db_schema_name")?;
    ensure!(schemas.contains("datasets"), "{schemas:?}");
    let filter = CommandGetTables { include_schema: true, ..Default::default() };
    let tables = client.tables(filter).await?;
    let names = texts(&tables, "table_name")?;
    ensure!(names.contains("orders") && !names.contains("secrets"), "{names:?}");
    ensure!(texts(&tables, "catalog_name")? == BTreeSet::from([world.acme.id.clone()]));
    for other in [&world.neighbour.id, &world.globex.id] {
        let filter = CommandGetTables { catalog: Some(other.clone()), ..Default::default() };
        let tables = client.tables(filter).await;
        let rows: usize = tables.map(|t| t.iter().map(RecordBatch::num_rows).sum()).unwrap_or(0);
        ensure!(rows == 0, "{rows} tables of {other}");
    }
    Ok(())
}

pub async fn a_prepared_statement_takes_parameters(world: Arc<World>) -> anyhow::Result<()> {
    let prepared = world.acme.sql().await?.prepare("select count(*) from datasets.orders where id < $1").await?;
    let schema = Arc::new(Schema::new(vec![Field::new("$1", DataType::Int64, true)]));
    for limit in [0_i64, 10, 1_000] {
        let parameters = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![limit]))])?;
        let batches = prepared.execute_with(parameters).await?.collect().await?;
        let counted = batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0);
        ensure!(counted == limit.min(100), "{counted} ids below {limit}");
    }
    prepared.close().await?;
    Ok(())
}

/// Tickets are sealed for the tenant they were made for.
pub async fn a_foreign_ticket_is_refused(world: Arc<World>) -> anyhow::Result<()> {
    use arrow_flight::sql::CommandStatementQuery;
    let query = CommandStatementQuery { query: "select * from datasets.orders".to_owned(), transaction_id: None };
    let info = world.acme.sql().await?.info(query).await?;
    let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).context("no ticket")?;
    for other in [&world.neighbour, &world.globex] {
        use futures::TryStreamExt;
        let outcome = match other.sql().await?.fetch(ticket.clone()).await {
            Ok(batches) => batches.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        };
        ensure!(outcome.is_err(), "{} could use a ticket of {}", other.id, world.acme.id);
    }
    Ok(())
}

/// Rows are never cut off in silence: all of a large answer arrives, in batches.
pub async fn a_large_answer_is_whole(world: Arc<World>) -> anyhow::Result<()> {
    use futures::TryStreamExt;
    let sql = "select a.id as x, b.id as y, c.city from datasets.orders a cross join datasets.orders b \
               cross join datasets.orders c";
    let mut results = world.acme.sql().await?.execute(sql).await?;
    let mut total = 0;
    while let Some(batch) = results.try_next().await? {
        total += batch.num_rows();
    }
    ensure!(total == 1_000_000, "{total} rows");
    Ok(())
}
