//! `cyto cell list`.

use std::process::ExitCode;

use super::api::Api;
use super::credential::Credential;
use super::global::{Cell, Global};
use super::site::Site;
use super::table::render;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub enum Command {
    /// All cells, where they listen and which contracts they run.
    List,
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List => println!("{}", table(global.cells().await?)),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn table(cells: Vec<Cell>) -> String {
    let rows = cells.into_iter().map(row).collect();
    render(&["cell", "kind", "state", "tenants", "gateway", "Flight SQL", "contracts"], rows, &[3])
}

fn row(cell: Cell) -> Vec<String> {
    let contracts = match cell.contracts {
        None => "not reported".to_owned(),
        Some(c) if c.drift.is_empty() => format!("version {}", c.version),
        Some(c) => format!("version {}, drift: {}", c.version, c.drift.join("; ")),
    };
    vec![cell.id, cell.kind, cell.state, cell.tenants.to_string(), cell.http, cell.flight, contracts]
}
