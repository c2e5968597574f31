//! HTTP and gRPC serving over mTLS, and the habits all APIs share.

mod access;
mod json;
mod page;
mod query;
mod serve;
mod spanned;

pub use json::Json;
pub use page::{Page, PageError, PageRequest};
pub use query::Query;
pub use serve::{Peer, ServeError, Server, serve_plain};
