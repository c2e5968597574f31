//! Pure types and decisions: names, columns, values, inference, a transaction's states.

pub mod column;
pub mod infer;
pub mod name;
pub mod transaction;
pub mod value;

pub use column::{Column, ColumnKind};
pub use infer::Guess;
pub use transaction::{Format, State, TransactionKind};
