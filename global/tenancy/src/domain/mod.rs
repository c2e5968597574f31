//! Pure types and decisions.

pub mod access;
pub mod draining;
pub mod host;
pub mod moving;
pub mod placement;
pub mod sharing;
