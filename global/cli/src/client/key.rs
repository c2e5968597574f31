//! `cyto key create|list|revoke`: API keys of a tenant, good at its doors as they are.

use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::global::{Global, Key};
use super::site::Site;
use super::table::render;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a machine user of a tenant and a key for it. Prints the key and nothing else; it is shown only here.
    Create {
        #[arg(long)]
        tenant: String,
        /// Of the machine user.
        #[arg(long)]
        name: String,
        /// What it may do, with commas between; everything inside the tenant when it is left out.
        #[arg(long, value_delimiter = ',', default_value = "*")]
        scopes: Vec<String>,
        #[arg(long, default_value_t = 90)]
        days: u32,
    },
    /// The keys of a tenant's members.
    List {
        #[arg(long)]
        tenant: String,
    },
    /// End a key, and every token that was made with it.
    Revoke { id: String },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::Create { tenant, name, scopes, days } => {
            let organisation = global.organisation_of(&tenant).await?;
            let user = global.machine_user(&name, &organisation, &tenant, &scopes).await?;
            println!("{}", global.create_key(&user.client_id, &name, &tenant, days).await?);
        }
        Command::List { tenant } => println!("{}", table(global.keys(&tenant).await?)),
        Command::Revoke { id } => {
            global.revoke_key(&id).await?;
            println!("key {id} is revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(keys: Vec<Key>) -> String {
    let or_never = |at: Option<String>| at.unwrap_or_else(|| "never".to_owned());
    let row = |key: Key| {
        let scopes = key.scopes.map_or_else(|| "as its user".to_owned(), |scopes| scopes.join(" "));
        vec![key.id, key.name, key.prefix, scopes, or_never(key.expires_at), or_never(key.last_used_at)]
    };
    render(&["key", "name", "begins", "scopes", "expires", "exchanged"], keys.into_iter().map(row).collect(), &[])
}
