//! Commands that speak to a running site as its clients do.

use std::process::ExitCode;

use clap::Subcommand;

use crate::place::Place;

#[derive(Subcommand)]
pub enum Command {}

pub async fn run(command: Command, _place: &Place) -> anyhow::Result<ExitCode> {
    match command {}
}
