//! `cyto cell list|set|drain`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::api::Api;
use super::credential::Credential;
use super::global::{Cell, CellChange, Drain, Global};
use super::site::Site;
use super::table::render;
use crate::place::Place;

const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Subcommand)]
pub enum Command {
    /// All cells, where they listen and which contracts they run.
    List,
    /// Change what a cell takes. Tenants that it has stay.
    Set {
        cell: String,
        /// One that was emptied takes tenants again.
        #[arg(long, conflicts_with = "retired")]
        serving: bool,
        /// One that is empty is there no more, for good.
        #[arg(long)]
        retired: bool,
        /// Tenants it takes at most; 0 is no limit.
        #[arg(long)]
        capacity: Option<u32>,
        /// Where it is.
        #[arg(long)]
        region: Option<String>,
        /// Its own door, `ip:port` or `name:port`: TLS of its tenants' own domains is passed on to it. Empty: none.
        #[arg(long)]
        door: Option<String>,
    },
    /// Bring all tenants of a cell elsewhere, while they are in use, and wait until it is empty.
    Drain {
        cell: String,
        /// Cell they go to; the platform chooses one for each when it is left out.
        #[arg(long)]
        to: Option<String>,
        /// The cell is lost: only routes change, within seconds. Its tenants find nothing of what they had there.
        #[arg(long)]
        lost: bool,
        /// Only tell what would be done.
        #[arg(long, conflicts_with = "lost")]
        plan: bool,
        /// Stop the drain that is under way; what was brought away stays there.
        #[arg(long, conflicts_with_all = ["to", "lost", "plan"])]
        cancel: bool,
    },
}

pub async fn run(command: Command, place: &Place) -> anyhow::Result<ExitCode> {
    let api = Api::new(&Site::read(place)?)?;
    let global = Global::new(&api, Credential::find_global(place, &api)?);
    match command {
        Command::List => println!("{}", table(global.cells().await?)),
        Command::Set { cell, serving, retired, capacity, region, door } => {
            let state = if retired { Some("retired") } else { serving.then_some("serving") }.map(str::to_owned);
            let changed = global.change_cell(&cell, &CellChange { state, capacity, region, door }).await?;
            println!("{}", table(vec![changed]));
        }
        Command::Drain { cell, cancel: true, .. } => {
            let stopped = global.cancel_drain(&cell).await?;
            println!("cell {cell} keeps {} of {} tenants, and takes new ones", stopped.left, stopped.tenants);
        }
        Command::Drain { cell, to, plan: true, .. } => plan(&global, &cell, to.as_deref()).await?,
        Command::Drain { cell, to, lost, .. } => {
            let way = if lost { "route" } else { "move" };
            follow(&global, global.begin_drain(&cell, way, to.as_deref()).await?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn plan(global: &Global, cell: &str, to: Option<&str>) -> anyhow::Result<()> {
    let plan = global.plan_drain(cell, to).await?;
    let asked = match plan.requests_per_second {
        Some(rate) => format!("{rate} requests/s"),
        None => "an unknown number of requests".to_owned(),
    };
    println!("cell {cell} has {} tenants with {asked}; they would go to", plan.tenants);
    let rows = plan.to.into_iter().map(|(cell, tenants)| vec![cell, tenants.to_string()]).collect();
    println!("{}", render(&["cell", "tenants"], rows, &[1]));
    Ok(())
}

/// Tells how many tenants are left until none is.
async fn follow(global: &Global, mut now: Drain) -> anyhow::Result<()> {
    let mut told = String::new();
    loop {
        let said = match &now.problem {
            Some(problem) => format!("{} of {} tenants are left: {problem}", now.left, now.tenants),
            None => format!("{} of {} tenants are left", now.left, now.tenants),
        };
        if said != told {
            println!("{said}");
            told = said;
        }
        match now.state.as_str() {
            "done" => {
                println!("cell {} is empty, and takes no new tenants", now.cell);
                return Ok(());
            }
            "cancelled" => anyhow::bail!("somebody stopped this"),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
        let all = global.drains(&now.cell).await?;
        now = all.into_iter().find(|one| one.id == now.id).context("the drain is gone")?;
    }
}

pub fn table(cells: Vec<Cell>) -> String {
    let rows = cells.into_iter().map(row).collect();
    render(&["cell", "kind", "state", "tenants", "region", "gateway", "Flight SQL", "contracts"], rows, &[3])
}

fn row(cell: Cell) -> Vec<String> {
    let contracts = match cell.contracts {
        None => "not reported".to_owned(),
        Some(c) if c.drift.is_empty() => format!("version {}", c.version),
        Some(c) => format!("version {}, drift: {}", c.version, c.drift.join("; ")),
    };
    let tenants = match cell.capacity {
        0 => cell.tenants.to_string(),
        most => format!("{} of {most}", cell.tenants),
    };
    let region = cell.region.unwrap_or_else(|| "-".to_owned());
    vec![cell.id, cell.kind, cell.state, tenants, region, cell.http, cell.flight, contracts]
}
