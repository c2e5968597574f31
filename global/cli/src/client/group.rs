//! `cyto router-group list|set|remove`.

use std::net::IpAddr;
use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::global::{Global, RouterGroup};
use super::site::Site;
use super::table::render;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub enum Command {
    /// All groups, or those that serve one tenant: where its hosts are to lead.
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Make a group or change its addresses. A new one takes its share of the tenants, and no others move.
    Set { id: String, addresses: Vec<IpAddr> },
    /// Remove a group; its tenants are served by others.
    Remove { id: String },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List { tenant } => println!("{}", table(global.router_groups(tenant.as_deref()).await?)),
        Command::Set { id, addresses } => println!("{}", table(vec![global.set_router_group(&id, &addresses).await?])),
        Command::Remove { id } => {
            global.remove_router_group(&id).await?;
            println!("group {id} is removed");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(groups: Vec<RouterGroup>) -> String {
    let rows = groups.into_iter().map(|group| vec![group.id, group.addresses.join(", ")]).collect();
    render(&["group", "addresses"], rows, &[])
}
