//! HTTP and gRPC serving over mTLS, and the habits all APIs share.

mod access;
pub mod idempotency;
mod json;
mod page;
mod query;
mod serve;
mod spanned;
mod unread;

pub use json::Json;
pub use page::{Page, PageError, PageRequest};
pub use query::Query;
pub use serve::{Peer, ServeError, Server, serve_plain};
