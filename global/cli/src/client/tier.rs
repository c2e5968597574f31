//! `cyto tier list|set|remove`.

use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::global::{Global, Tier};
use super::site::Site;
use super::table::render;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub enum Command {
    /// All tiers, with the limits of each tenant at all routers together.
    List,
    /// Make a tier or change it. A limit that is left out is none.
    Set(Tier),
    /// Remove a tier that no tenant is of.
    Remove { id: String },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List => println!("{}", table(global.tiers().await?)),
        Command::Set(tier) => println!("{}", table(vec![global.set_tier(&tier).await?])),
        Command::Remove { id } => {
            global.remove_tier(&id).await?;
            println!("tier {id} is removed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(tiers: Vec<Tier>) -> String {
    let limit = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
    let row = |tier: Tier| {
        vec![
            tier.id,
            limit(tier.requests_per_second.into()),
            limit(tier.request_burst.into()),
            limit(tier.concurrent_requests.into()),
            limit(tier.bytes_per_second),
            limit(tier.byte_burst),
            limit(tier.body_bytes),
            tier.weight.to_string(),
        ]
    };
    let head = ["tier", "requests/s", "at once", "under way", "bytes/s", "bytes at once", "longest body", "weight"];
    render(&head, tiers.into_iter().map(row).collect(), &[1, 2, 3, 4, 5, 6, 7])
}
