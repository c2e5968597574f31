//! Commands that speak to a running site as its clients do.

mod api;
mod cell;
mod credential;
pub mod demo;
mod global;
mod group;
mod key;
mod login;
mod site;
mod sql;
mod status;
mod table;
mod tenant;
mod tenant_api;
mod tier;
mod token;

use std::process::ExitCode;

use clap::Subcommand;

use crate::place::Place;

#[derive(Subcommand)]
pub enum Command {
    /// Send two tenants' real rows through their cells and check every answer.
    Demo(demo::Args),
    /// Ask a tenant's tables in SQL: a prompt, or one statement.
    Sql(sql::Args),
    /// Sign in.
    Login(login::Args),
    /// Print an access token, for curl and other clients.
    Token(token::Args),
    /// API keys of a tenant: create, list, revoke.
    #[command(subcommand)]
    Key(key::Command),
    /// Tenants: list, create, set the tier, move.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Tiers, what classes of tenants may use: list, set, remove.
    #[command(subcommand)]
    Tier(tier::Command),
    /// Cells: list, set, drain.
    #[command(subcommand)]
    Cell(cell::Command),
    /// Groups of routers, and which of them serve a tenant: list, set, remove.
    #[command(subcommand)]
    RouterGroup(group::Command),
    /// What the site is doing: cells, generations, contracts, lag, freshness, errors. Ends with 1 if
    /// something needs attention.
    Status(status::Args),
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::command(args, place).await,
        Command::Sql(args) => sql::run(args, place).await,
        Command::Login(args) => login::run(args, place).await,
        Command::Token(args) => token::run(args, place).await,
        Command::Key(command) => key::run(command, place).await,
        Command::Tenant(command) => tenant::run(command, place).await,
        Command::Tier(command) => tier::run(command, place).await,
        Command::Cell(command) => cell::run(command, place).await,
        Command::RouterGroup(command) => group::run(command, place).await,
        Command::Status(args) => status::run(args, place).await,
    }
}

/// Tenants and the cell of each, for the table of `cyto up`. None if they cannot be asked for.
pub async fn tenants(place: &Place) -> Vec<(String, String)> {
    let ask = async {
        let api = api::Api::new(&site::Site::read(place)?)?;
        let global = global::Global::new(&api, credential::Credential::find_global(place, &api)?);
        anyhow::Ok(global.tenants().await?)
    };
    match ask.await {
        Ok(tenants) => tenants.into_iter().map(|t| (t.id, t.cell)).collect(),
        Err(error) => {
            tracing::debug!(%error, "tenants cannot be listed");
            Vec::new()
        }
    }
}
