//! A table behind another Flight SQL server.
pub struct FlightSqlTable;
