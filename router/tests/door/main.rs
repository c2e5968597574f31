//! The real `router` process between real clients and real HTTP/2 + mTLS peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certs;
mod early;
mod ends;
mod handover;
mod handshakes;
mod hostile;
mod keys;
mod limits;
mod moves;
mod names;
mod passing;
mod peer;
mod places;
mod restarts;
mod seals;
mod shares;
mod site;
mod streams;
mod tokens;
