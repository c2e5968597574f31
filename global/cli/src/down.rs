use std::process::ExitCode;
use crate::place::Place;

#[derive(clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, _place: &Place) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
