//! The demo's questions in SQL, over Flight SQL through the router, checked against the file.

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

use super::super::sql::Session;
use super::super::table::{grouped, render};
use super::input::{Delay, MANY_FLIGHTS};

/// Minutes by which an engine's floating-point mean may differ from ours.
const TOLERANCE: f64 = 1e-9;

/// Rows of a table, counted by the engine.
pub async fn count(sql: &Session, table: &str) -> anyhow::Result<u64> {
    let batches = sql.all(&format!("select count(*) as n from {table}")).await?;
    let rows = column(&batches, 0, &DataType::Int64)?;
    let [only] = rows.as_slice() else { bail!("count(*) gave {} batches", rows.len()) };
    let numbers = only.as_primitive::<Int64Type>();
    ensure!(numbers.len() == 1 && !numbers.is_null(0), "count(*) gave {} rows", numbers.len());
    u64::try_from(numbers.value(0)).context("count(*) is negative")
}

/// Mean departure delay by carrier name, carriers with few flights left out: a join and an
/// aggregation over the flights of one tenant.
pub async fn delays(sql: &Session, flights: &str) -> anyhow::Result<Vec<Delay>> {
    let statement = format!(
        "select a.name as carrier, count(*) as flights, avg(cast(f.dep_delay as double)) as mean_delay \
         from {flights} f join datasets.airlines a on f.carrier = a.carrier \
         group by a.name having count(*) >= {MANY_FLIGHTS} order by mean_delay desc"
    );
    let batches = sql.all(&statement).await?;
    let names = column(&batches, 0, &DataType::Utf8)?;
    let counts = column(&batches, 1, &DataType::Int64)?;
    let means = column(&batches, 2, &DataType::Float64)?;
    let mut answer = Vec::new();
    for ((names, counts), means) in names.iter().zip(&counts).zip(&means) {
        let (names, counts) = (names.as_string::<i32>(), counts.as_primitive::<Int64Type>());
        let means = means.as_primitive::<Float64Type>();
        for row in 0..names.len() {
            answer.push(Delay {
                carrier: names.value(row).to_owned(),
                flights: counts.value(row).unsigned_abs(),
                mean_minutes: means.value(row),
            });
        }
    }
    Ok(answer)
}

/// Engines differ in text and integer widths; the demo asks for one.
fn column(batches: &[RecordBatch], at: usize, wanted: &DataType) -> anyhow::Result<Vec<arrow::array::ArrayRef>> {
    batches
        .iter()
        .filter(|batch| batch.num_rows() > 0)
        .map(|batch| {
            ensure!(at < batch.num_columns(), "the answer has {} columns", batch.num_columns());
            Ok(cast(batch.column(at), wanted)?)
        })
        .collect()
}

/// Refuses an answer that is not the one the file itself gives.
pub fn check(tenant: &str, answer: &[Delay], expected: &[Delay]) -> anyhow::Result<()> {
    ensure!(answer.len() == expected.len(), "{tenant}: {} carriers instead of {}", answer.len(), expected.len());
    for (got, want) in answer.iter().zip(expected) {
        let same = got.carrier == want.carrier
            && got.flights == want.flights
            && (got.mean_minutes - want.mean_minutes).abs() <= TOLERANCE;
        ensure!(same, "{tenant}: the platform says {got:?}, the file says {want:?}");
    }
    Ok(())
}

pub fn print(answer: &[Delay]) {
    let rows = answer.iter().map(|d| vec![d.carrier.clone(), grouped(d.flights), format!("{:.2}", d.mean_minutes)]);
    println!("{}", render(&["carrier", "flights", "mean departure delay, min"], rows.collect(), &[1, 2]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_differs_in_one_number_is_refused() {
        let delay =
            |minutes| Delay { carrier: "United Air Lines Inc.".to_owned(), flights: 58_665, mean_minutes: minutes };
        assert!(check("acme", &[delay(12.1)], &[delay(12.1)]).is_ok());
        assert!(check("acme", &[delay(12.2)], &[delay(12.1)]).is_err());
        assert!(check("acme", &[], &[delay(12.1)]).is_err());
    }
}
