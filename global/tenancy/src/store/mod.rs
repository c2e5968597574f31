//! The only SQL of this crate.

pub mod cells;
pub mod contracts;
pub mod drains;
pub mod groups;
pub mod moves;
pub mod organisations;
pub mod routing;
pub mod tenants;
pub mod tiers;
pub mod writer;
