//! Statements through router, edge and pool, and the same by engines that do nothing else.

use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::{Array, Int64Array};
use serde::Serialize;

use crate::door::Door;
use crate::figures::{Figures, quantile};
use crate::peers::Peers;
use crate::tables::Tables;

/// `{flights}`, `{airlines}` and `{wide}` stand for the tables' names.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Statement {
    pub name: &'static str,
    pub sql: &'static str,
}

pub const STATEMENTS: &[Statement] = &[
    Statement { name: "select 1", sql: "select 1" },
    Statement { name: "count(*)", sql: "select count(*) from {flights}" },
    Statement { name: "point query", sql: "select * from {flights} where flight = 1545 and month = 1 and day = 1" },
    Statement {
        name: "group by",
        sql: "select carrier, count(*), avg(dep_delay) from {flights} group by carrier order by carrier",
    },
    Statement {
        name: "join",
        sql: "select a.name, avg(f.dep_delay) from {flights} f join {airlines} a on f.carrier = a.carrier \
              group by a.name order by a.name",
    },
    Statement {
        name: "full scan",
        sql: "select sum(id), sum(value), min(word), max(word), count(distinct \"group\") from {wide}",
    },
];

/// `select count(*)` of a table.
pub async fn count(door: &Door, table: &str) -> anyhow::Result<u64> {
    let batches = door.sql.execute(&format!("select count(*) from {table}")).await?.collect().await?;
    let column = batches.iter().find(|b| b.num_rows() > 0).context("no row")?.column(0).clone();
    let numbers = column.as_any().downcast_ref::<Int64Array>().context("a count is a 64-bit integer")?;
    Ok(numbers.value(0).unsigned_abs())
}

/// Each statement `repetitions` times, one after the other; the large scan a tenth as often.
pub async fn measure(
    door: &Door,
    tables: &Tables,
    peers: Option<&Peers>,
    repetitions: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for statement in STATEMENTS {
        let repetitions = if statement.sql.contains("{wide}") { repetitions.div_ceil(10) } else { repetitions };
        let first = times(door, tables, statement, repetitions.div_ceil(2)).await?;
        let theirs = match peers {
            Some(peers) => peers.times(statement, repetitions).await?,
            None => Vec::new(),
        };
        // Ours before and after theirs: what the machine did meanwhile falls on both.
        let second = times(door, tables, statement, repetitions.div_ceil(2)).await?;
        let ours = figures.add_times(statement.name, &[first, second].concat());
        for (engine, mut milliseconds) in theirs {
            let median = quantile(&mut milliseconds, 0.50);
            figures.add(format!("{}, {engine} alone, p50", statement.name), median, "ms");
            figures.add(format!("{}, ours / {engine}", statement.name), ours / median, "times");
        }
    }
    Ok(())
}

async fn times(
    door: &Door,
    tables: &Tables,
    statement: &Statement,
    repetitions: usize,
) -> anyhow::Result<Vec<Duration>> {
    let sql = tables.name(statement.sql);
    // The first fills caches, ours as theirs.
    door.sql.execute(&sql).await.with_context(|| sql.clone())?.collect().await?;
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let started = Instant::now();
        door.sql.execute(&sql).await?.collect().await?;
        times.push(started.elapsed());
    }
    Ok(times)
}
