//! Results as a table, expanded, CSV or JSON.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use flight_sql::Results;
use futures::StreamExt;

use super::super::table::render;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Csv,
    /// One object per line.
    Json,
}

/// Writes a result; CSV and JSON leave as the batches come, a table needs all rows to be aligned.
pub async fn stream(mut results: Results, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            let schema = results.schema().clone();
            let batches = results.collect().await?;
            writeln!(out, "{}", table(&schema, &batches)?)?;
        }
        Format::Csv => {
            let schema = results.schema().clone();
            let mut writer = arrow::csv::Writer::new(&mut *out);
            let mut empty = true;
            while let Some(batch) = results.next().await.transpose()? {
                writer.write(&batch)?;
                empty = false;
            }
            if empty {
                writer.write(&RecordBatch::new_empty(schema))?;
            }
        }
        Format::Json => {
            let options = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
            let mut writer = options.build::<_, LineDelimited>(&mut *out);
            while let Some(batch) = results.next().await.transpose()? {
                writer.write(&batch)?;
            }
            writer.finish()?;
        }
    }
    Ok(out.flush()?)
}

/// Texts of all rows; NULL is written `null` in tables, so that it is not an empty text.
pub fn texts(batches: &[RecordBatch]) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).try_to_string()).collect::<Result<_, _>>()?);
        }
    }
    Ok(rows)
}

pub fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<String> {
    let header: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    Ok(render(&header, texts(batches)?, &numbers(schema)))
}

fn numbers(schema: &Schema) -> Vec<usize> {
    schema.fields().iter().enumerate().filter(|(_, f)| f.data_type().is_numeric()).map(|(at, _)| at).collect()
}

/// One line per value, one block per row.
pub fn expanded(schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<String> {
    let width = schema.fields().iter().map(|f| f.name().chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (number, row) in texts(batches)?.into_iter().enumerate() {
        out.push_str(&format!("─[ row {} ]\n", number + 1));
        for (field, value) in schema.fields().iter().zip(row) {
            out.push_str(&format!("{:width$} │ {value}\n", field.name()));
        }
    }
    Ok(out.trim_end().to_owned())
}
