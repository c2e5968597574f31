//! A cell's real parts: fetched, provisioned, checked and supervised.
//!
//! [`parts`] holds what is not ours (servers, data), [`driver::Driver`] brings one part of a cell to its
//! declared state, [`process::Supervisor`] runs processes that cannot outlive it, [`site::Site`] puts
//! router, global plane and cells together on one machine.

pub mod addresses;
pub mod alone;
pub mod ca;
pub mod ceph;
pub mod driver;
mod error;
mod files;
pub mod java;
pub mod kafka;
pub mod nats;
pub mod parts;
pub mod postgres;
pub mod process;
pub mod report;
pub mod secrets;
pub mod site;

pub use error::{Error, Result};
pub use files::require_space;
