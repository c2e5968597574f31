//! Query parameters and their sense.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::domain::{Column, Format, TransactionKind};
use crate::error::Error;
use crate::intake::Dialect;
use crate::ops::commit::Reading;

/// Most spellings of "no value".
const NULLS: usize = 16;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OpenQuery {
    /// `SNAPSHOT` replaces the dataset's rows, `APPEND` adds to them.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FormatQuery {
    /// `csv`, `ndjson` or `parquet`; else the content type or the file's name says it.
    pub format: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// `SNAPSHOT` (default) or `APPEND`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `csv`, `ndjson` or `parquet`; else the content type says it.
    pub format: Option<String>,
    /// Spellings of "no value" in CSV, separated by commas; the empty field and `NA` when absent.
    pub null: Option<String>,
    /// One ASCII character, or `\t`.
    pub delimiter: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// Newest when absent.
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// 1 to 1000; 100 when absent.
    pub rows: Option<usize>,
    /// Newest when absent.
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DownloadQuery {
    /// `csv` (default), `ndjson` or `parquet`.
    pub format: Option<String>,
    /// Newest when absent.
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NameQuery {
    /// Only the dataset of this name.
    pub name: Option<String>,
}

/// How a transaction's files are to be read. Everything has a default.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitRequest {
    /// Columns instead of inferred ones.
    #[serde(default)]
    pub schema: Option<Vec<Column>>,
    /// Spellings of "no value" in CSV.
    #[serde(default)]
    pub nulls: Option<Vec<String>>,
    #[serde(default)]
    pub delimiter: Option<String>,
    #[serde(default)]
    pub format: Option<Format>,
}

impl CommitRequest {
    pub fn reading(self, query: &FormatQuery) -> Result<Reading, Error> {
        let format = format(query.format.as_deref(), None)?.or(self.format);
        Ok(Reading { format, dialect: dialect(self.nulls, self.delimiter.as_deref())?, columns: self.schema })
    }
}

impl UploadQuery {
    pub fn reading(&self, headers: &HeaderMap) -> Result<Reading, Error> {
        let nulls = self.null.as_ref().map(|text| text.split(',').map(str::to_owned).chain([String::new()]).collect());
        let format = format(self.format.as_deref(), Some(headers))?;
        Ok(Reading { format, dialect: dialect(nulls, self.delimiter.as_deref())?, columns: None })
    }
}

pub fn kind(text: Option<&str>) -> Result<TransactionKind, Error> {
    let parsed = TransactionKind::parse(text.unwrap_or("SNAPSHOT"));
    parsed.ok_or_else(|| Error::Parameter("type is SNAPSHOT or APPEND".to_owned()))
}

/// The named format, or the one the content type stands for.
pub fn format(text: Option<&str>, headers: Option<&HeaderMap>) -> Result<Option<Format>, Error> {
    match text {
        Some(text) => {
            Format::parse(text).map(Some).ok_or_else(|| Error::Parameter("format is csv, ndjson or parquet".to_owned()))
        }
        None => Ok(headers
            .and_then(|headers| headers.get(CONTENT_TYPE))
            .and_then(|value| value.to_str().ok())
            .and_then(Format::of_content_type)),
    }
}

fn dialect(nulls: Option<Vec<String>>, delimiter: Option<&str>) -> Result<Dialect, Error> {
    let mut dialect = Dialect::default();
    if let Some(nulls) = nulls {
        if nulls.len() > NULLS || nulls.iter().any(|null| null.len() > 64) {
            return Err(Error::Parameter(format!(
                "at most {NULLS} spellings of \"no value\", each of at most 64 bytes"
            )));
        }
        dialect.nulls = nulls;
    }
    if let Some(text) = delimiter {
        dialect.delimiter = match text.as_bytes() {
            b"\\t" => b'\t',
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => *byte,
            _ => {
                return Err(Error::Parameter(
                    "delimiter is one ASCII character other than a quote or a line end".to_owned(),
                ));
            }
        };
    }
    Ok(dialect)
}
