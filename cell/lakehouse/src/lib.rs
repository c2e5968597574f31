//! The cell's warehouse: Iceberg tables in the bucket, commits through the REST catalog.
//!
//! A service writes rows to Parquet ([`write`]), turns the files into a commit ([`snapshot`]) and
//! sends it ([`catalog`], [`retry`]); a query asks which files to read ([`scan`]). All object access
//! is confined to one tenant's part of the bucket ([`bucket::TenantBucket`]).

mod bounds;
pub mod bucket;
pub mod catalog;
pub mod credentials;
pub mod error;
mod manifest;
pub mod names;
pub mod orphans;
mod page_header;
pub mod pages;
mod probe;
pub mod retry;
pub mod scan;
pub mod schema;
pub mod snapshot;
mod storage;
mod totals;
mod untrusted;
pub mod write;

#[cfg(test)]
mod tests;

pub use bucket::{Bucket, TenantBucket};
pub use catalog::{Catalog, LoadedTable, TableChange, Tagged};
pub use error::{Error, Result};
pub use names::{Namespace, TableName};
