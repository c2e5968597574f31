//! `cyto tenant list|create|tier|move`.

use std::process::ExitCode;
use std::time::Duration;

use super::api::Api;
use super::credential::Credential;
use super::global::{Global, Move, NewTenant};
use super::site::Site;
use super::table::render;
use crate::place::Place;

const LOOK_EVERY: Duration = Duration::from_millis(200);

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
        /// Where its cell must be; anywhere when it is left out.
        #[arg(long)]
        region: Option<String>,
        /// A word of the organisation's own: no two of its tenants with the same are ever in one cell.
        #[arg(long)]
        apart: Option<String>,
    },
    /// Give a tenant another tier. What is under way goes on.
    Tier { id: String, tier: String },
    /// Move a tenant to another cell while it is in use, and wait until it is there.
    Move {
        id: String,
        /// Cell to move to.
        #[arg(long, required_unless_present = "cancel")]
        to: Option<String>,
        /// Give up the move that is under way; possible until the old cell is fenced.
        #[arg(long, conflicts_with = "to")]
        cancel: bool,
    },
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
        Command::Create { id, organisation, cell, tier, region, apart } => {
            global.ensure_organisation(&organisation, &organisation).await?;
            let (cell, tier) = (cell.as_deref(), tier.as_deref());
            let (region, apart) = (region.as_deref(), apart.as_deref());
            let new = NewTenant { id: &id, organisation: &organisation, cell, tier, region, apart };
            let tenant = global.ensure_tenant(&new).await?;
            println!(
                "tenant {} lives in cell {} (generation {}) at {}",
                tenant.id, tenant.cell, tenant.generation, tenant.host
            );
        }
        Command::Tier { id, tier } => {
            let tenant = global.give_tier(&id, &tier).await?;
            println!("tenant {} is of tier {}", tenant.id, tenant.tier);
        }
        Command::Move { id, to: Some(to), .. } => follow(&global, global.begin_move(&id, &to).await?).await?,
        Command::Move { id, to: None, .. } => follow(&global, global.cancel_move(&id).await?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells each step until the move is over.
async fn follow(global: &Global, mut now: Move) -> anyhow::Result<()> {
    let mut told = String::new();
    loop {
        let said = match &now.problem {
            Some(problem) => format!("{}: {problem}", now.step),
            None => now.step.clone(),
        };
        if said != told {
            println!("{said}");
            told = said;
        }
        match now.step.as_str() {
            "done" => {
                let waited = now.waited_ms.unwrap_or_default();
                println!("tenant {} lives in cell {}; its requests waited {waited} ms", now.tenant, now.to);
                return Ok(());
            }
            "cancelled" => {
                println!("tenant {} stays in cell {}", now.tenant, now.from);
                return Ok(());
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
        now = global.find_move(&now).await?;
    }
}
