//! `cyto status`: the site at a glance, for people and with `--json` for programs.

mod exposition;
mod observe;
mod print;
mod report;
mod tenants;

use std::process::ExitCode;

use anyhow::Context;
use stack::site::Description;

use super::api::Api;
use super::site::Site;
use crate::place::Place;

#[derive(clap::Args)]
pub struct Args {
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// Ends with 1 if something needs attention.
pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let description = Description::read(&place.state)?;
    let description = description.with_context(|| format!("no site was started in {}", place.state.display()))?;
    let api = Api::new(&Site::read(place)?)?;
    let report = observe::site(place, &api, &description).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", print::text(&report));
    }
    Ok(if report.attention.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
