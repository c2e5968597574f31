//! The real `router` before requests that nobody here made up: other people's cases of HTTP/2, their corpus of requests
//! that are read in two ways, their slow clients. `make conformance-router`, which fetches them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod agreement;
#[path = "../door/certs.rs"]
#[allow(dead_code)]
mod certs;
mod corpus;
mod desync;
mod frames;
mod lane;
#[path = "../door/peer.rs"]
#[allow(dead_code)]
mod peer;
#[path = "../door/site.rs"]
#[allow(dead_code)]
mod site;
mod slow;
#[path = "../door/tokens.rs"]
#[allow(dead_code)]
mod tokens;

use std::path::PathBuf;

/// Where one of the programs lies that `make conformance-router` fetches.
fn fetched(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: `make conformance-router` sets it"))
        .into()
}
