//! The only SQL of this crate. Every function names the subject, organisation or tenant it is
//! about; none lists more than one page.

pub mod api_keys;
pub mod devices;
pub mod failures;
pub mod key_cards;
pub mod keys;
pub mod members;
pub mod sessions;
pub mod subjects;
