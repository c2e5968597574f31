//! What one tenant may use of this router, so that it takes nothing from another. Knows no clock and no transport.
//!
//! Invariants: a tenant's answers depend on nothing but its own use, until the router as a whole is full; then on how
//! many tenants share it. Memory is that of the tenants in use: one that is idle for as long as its allowance takes to
//! become whole is like one never seen, and is forgotten.

mod account;
mod allowance;
mod bucket;
mod ledger;
mod shares;

pub use allowance::{Allowance, Over};
pub use bucket::Rate;
pub use ledger::{Leave, Ledger};
pub use shares::Shares;
