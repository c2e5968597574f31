//! A transaction's life: OPEN, then COMMITTED or ABORTED, and never back.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What a commit does to the dataset's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransactionKind {
    /// Replaces the whole view.
    Snapshot,
    /// Adds rows to it.
    Append,
}

impl TransactionKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "SNAPSHOT",
            Self::Append => "APPEND",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Snapshot, Self::Append].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Open,
    Committed,
    Aborted,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Committed => "COMMITTED",
            Self::Aborted => "ABORTED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Committed, Self::Aborted].into_iter().find(|state| state.name() == text)
    }
}

/// How the bytes of a file become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Csv,
    Ndjson,
    Parquet,
}

impl Format {
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/csv" | "application/csv" => Some(Self::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
            "application/vnd.apache.parquet" | "application/x-parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    pub fn of_path(path: &str) -> Option<Self> {
        Self::parse(path.rsplit_once('.')?.1)
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// What is asked of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    AddFile,
    Commit,
    Abort,
}

/// What follows from a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// The wish came true before; the same answer is given again.
    Done,
    /// Another call is committing it at this moment.
    Busy,
    /// It ended the other way.
    Ended,
}

/// Decides on a wish. `busy_until` is the lease of a commit under way. A lease that ran out belongs to a
/// process that died: the commit may be taken up again, but until it is known what became of it
/// nothing else may happen, for its rows may be in the table already.
pub fn decide(state: State, wish: Wish, busy_until: Option<OffsetDateTime>, now: OffsetDateTime) -> Verdict {
    match (state, wish) {
        (State::Open, Wish::Commit) if busy_until.is_some_and(|until| until > now) => Verdict::Busy,
        (State::Open, Wish::AddFile | Wish::Abort) if busy_until.is_some() => Verdict::Busy,
        (State::Open, _) => Verdict::Proceed,
        (State::Committed, Wish::Commit) | (State::Aborted, Wish::Abort) => Verdict::Done,
        _ => Verdict::Ended,
    }
}
