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
    /// All tiers, with the limits of each tenant at each router.
    List,
    /// Make a tier or change it. A limit that is left out is none.
    Set {
        /// 2 to 39 characters of a-z, 0-9 and '-'.
        id: String,
        #[arg(long, default_value_t = 0)]
        requests_per_second: u32,
        /// Requests that may come at once.
        #[arg(long, default_value_t = 0)]
        request_burst: u32,
        /// Requests under way.
        #[arg(long, default_value_t = 0)]
        concurrent_requests: u32,
        /// Bytes of bodies, both ways together.
        #[arg(long, default_value_t = 0)]
        bytes_per_second: u64,
        /// Bytes that may come at once.
        #[arg(long, default_value_t = 0)]
        byte_burst: u64,
        /// Longest body of a request, in bytes.
        #[arg(long, default_value_t = 0)]
        body_bytes: u64,
        /// Of a full router, its tenants get so many times what one of weight 1 gets.
        #[arg(long, default_value_t = 1)]
        weight: u32,
    },
    /// Remove a tier that no tenant is of.
    Remove { id: String },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List => println!("{}", table(global.tiers().await?)),
        Command::Set {
            id,
            requests_per_second,
            request_burst,
            concurrent_requests,
            bytes_per_second,
            byte_burst,
            body_bytes,
            weight,
        } => {
            let tier = Tier {
                id,
                requests_per_second,
                request_burst,
                concurrent_requests,
                bytes_per_second,
                byte_burst,
                body_bytes,
                weight,
            };
            println!("{}", table(vec![global.set_tier(&tier).await?]));
        }
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
