//! Iceberg tables for the engine: manifests say which files and what is in them, DataFusion's own
//! Parquet reader reads them.

mod evolution;
mod kept;
mod known;
mod lake;
mod outline;
mod pruning;
mod reader;
mod statistics;
mod table;

pub use lake::Lake;
pub use outline::LakeOutline;
pub use table::IcebergTable;
