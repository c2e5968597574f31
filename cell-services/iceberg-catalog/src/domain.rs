//! What the catalog decides, without doing any of it.

pub mod alias;
pub mod commit;
pub mod creation;
pub mod location;
pub mod reserved;
pub mod view;
