//! Pure types and decisions: no clock, no database, no randomness.

pub mod access;
pub mod device;
pub mod key;
pub mod opaque;
pub mod password;
pub mod session;
pub mod throttle;
