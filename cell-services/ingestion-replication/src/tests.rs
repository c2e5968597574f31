//! Tests of the service as a whole.

mod simulation;
