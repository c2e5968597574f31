//! `cyto tenant list|create|tier`.

use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::global::Global;
use super::site::Site;
use super::table::render;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub enum Command {
    /// All tenants you may see.
    List,
    /// Create a tenant and place it in a cell.
    Create {
        /// 2 to 39 characters of a-z, 0-9 and '-'; never renamed.
        id: String,
        #[arg(long)]
        organisation: String,
        /// Cell to live in; the platform chooses one when it is left out.
        #[arg(long)]
        cell: Option<String>,
        /// What it may use; `standard` when it is left out.
        #[arg(long)]
        tier: Option<String>,
    },
    /// Give a tenant another tier. What is under way goes on.
    Tier { id: String, tier: String },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List => {
            let rows = global.tenants().await?.into_iter();
            let rows = rows
                .map(|t| vec![t.id, t.organisation, t.cell, t.generation.to_string(), t.tier, t.state, t.host])
                .collect();
            println!(
                "{}",
                render(&["tenant", "organisation", "cell", "generation", "tier", "state", "host"], rows, &[3])
            );
        }
        Command::Create { id, organisation, cell, tier } => {
            global.ensure_organisation(&organisation, &organisation).await?;
            let tenant = global.ensure_tenant(&id, &organisation, cell.as_deref(), tier.as_deref()).await?;
            println!(
                "tenant {} lives in cell {} (generation {}) at {}",
                tenant.id, tenant.cell, tenant.generation, tenant.host
            );
        }
        Command::Tier { id, tier } => {
            let tenant = global.give_tier(&id, &tier).await?;
            println!("tenant {} is of tier {}", tenant.id, tenant.tier);
        }
    }
    Ok(ExitCode::SUCCESS)
}
