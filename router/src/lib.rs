//! The door: finds a request's tenant, checks its token and passes it on to the tenant's cell.
//!
//! The core (`table`, `fairness`, `token`, `cards`, `names` but for its resolver, `retries`, `revoked`, `decision`, `headers`, `framing`, `problem`, `target`) is pure: no
//! input or output, the clock is a parameter. pingora stands at the rim (`proxy`, `connection`,
//! `listen`), TLS in one module. The global plane is never asked on a request's path.

pub mod access_log;
pub mod admin;
mod block;
pub mod cards;
pub mod config;
pub mod connection;
pub mod decision;
pub mod fairness;
pub mod feed;
mod framing;
pub mod handover;
pub mod headers;
pub mod knowledge;
pub mod lately;
pub mod listen;
pub mod metrics;
pub mod names;
pub mod problem;
pub mod proxy;
pub mod retries;
pub mod revoked;
pub mod run;
pub mod shelf;
pub mod shutdown;
pub mod table;
pub mod target;
pub mod tls;
pub mod token;
pub mod websocket;
