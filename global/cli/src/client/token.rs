//! `cyto token`: an access token for other clients.

use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::site::Site;
use crate::place::Place;

#[derive(clap::Args)]
pub struct Args {
    /// For this tenant; without it the token is for the platform's own API.
    #[arg(long)]
    tenant: Option<String>,
}

/// Prints the token and nothing else, so that a shell can put it into a header.
pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let credential = match &args.tenant {
        Some(tenant) => Credential::find(place, &api, tenant)?,
        None => Credential::find_global(place, &api)?,
    };
    println!("{}", credential.token().await?);
    Ok(ExitCode::SUCCESS)
}
