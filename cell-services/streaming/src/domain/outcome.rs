//! What became of a batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::FieldError;

/// The answer to a batch, and what a repeat of it is answered with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchOutcome {
    /// Rows acknowledged by every in-sync replica.
    pub accepted: u64,
    pub rejected: u64,
    /// The first errors; `rejected` counts all rows.
    pub errors: Vec<RowError>,
    /// First and last offset by partition.
    #[schema(value_type = Object)]
    pub partitions: BTreeMap<i32, (i64, i64)>,
    pub schema_version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RowError {
    /// Counts from 1; blank lines do not count.
    pub row: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub code: String,
    pub message: String,
}

impl BatchOutcome {
    pub fn reject(&mut self, row: u64, errors: Vec<FieldError>, told: usize) {
        self.rejected += 1;
        for error in errors {
            if self.errors.len() < told {
                let FieldError { field, code, message } = error;
                self.errors.push(RowError { row, field, code: code.to_owned(), message });
            }
        }
    }
}
