//! Statements through router, edge and pool.

use std::time::Instant;

use anyhow::Context;
use arrow::array::{Array, Int64Array};

use crate::door::Door;
use crate::figures::Figures;

/// `select count(*)` of a table.
pub async fn count(door: &Door, table: &str) -> anyhow::Result<u64> {
    let batches = door.sql.execute(&format!("select count(*) from {table}")).await?.collect().await?;
    let column = batches.iter().find(|b| b.num_rows() > 0).context("no row")?.column(0).clone();
    let numbers = column.as_any().downcast_ref::<Int64Array>().context("a count is a 64-bit integer")?;
    Ok(numbers.value(0).unsigned_abs())
}

/// Each statement `repetitions` times, one after the other, over the newest dataset's table.
pub async fn measure(door: &Door, repetitions: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let datasets = door.json(door.request(reqwest::Method::GET, "/api/v1/datasets?pageSize=1000")).await?;
    let newest = datasets["data"].as_array().and_then(|list| list.last()).context("no dataset")?;
    let table = newest["table"].as_str().context("a dataset without a table")?;
    let statements = [
        ("select 1", "select 1".to_owned()),
        ("count(*)", format!("select count(*) from {table}")),
        ("point query", format!("select * from {table} where id = 4711")),
        ("group by", format!("select carrier, count(*), avg(delay) from {table} group by carrier")),
    ];
    for (name, sql) in statements {
        let mut times = Vec::with_capacity(repetitions);
        for _ in 0..repetitions {
            let started = Instant::now();
            door.sql.execute(&sql).await?.collect().await?;
            times.push(started.elapsed());
        }
        figures.add_times(name, times);
    }
    Ok(())
}
