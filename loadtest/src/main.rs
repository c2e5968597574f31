//! Figures of a running site, through its front door only: no code of ours is called, only its
//! public HTTP and Flight SQL. All load is bounded in count and goes to loopback.

mod catalog;
mod door;
mod figures;
mod hop;
mod ingest;
mod levels;
mod peers;
mod placements;
mod processes;
mod statements;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::door::Door;
use crate::figures::Figures;
use crate::peers::Peers;
use crate::tables::Tables;

/// Measures a running site and prints medians.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    /// State directory of the site, as `cyto up` made it.
    #[arg(long, env = "CYTO_STATE", default_value = ".cyto")]
    state: PathBuf,
    /// Rows pushed to a stream.
    #[arg(long, default_value_t = 300_000)]
    rows: u64,
    /// Made-up rows of the uploaded CSV, 70 bytes each; 15,000,000 are a gigabyte.
    #[arg(long, default_value_t = 4_000_000)]
    csv_rows: u64,
    /// Repetitions of each statement and of each call of the catalog.
    #[arg(long, default_value_t = 200)]
    repetitions: usize,
    /// Folder with flights.csv and airlines.csv of 2013.
    #[arg(long, env = "CYTO_FLIGHTS")]
    flights: PathBuf,
    /// Python with the peers' packages; without it there are no peers to compare with.
    #[arg(long, env = "CYTO_PEERS")]
    peers: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Set already only if another crate was faster; either way there is a provider.
    let _already = rustls::crypto::ring::default_provider().install_default();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (state, mut figures) = (&arguments.state, Figures::default());
    processes::memory(state, &mut figures)?;
    let door = Door::open(state).await?;
    hop::measure(&door, state, &mut figures).await?;
    placements::measure(&door, &mut figures).await?;
    ingest::push(&door, state, arguments.rows, &mut figures).await?;
    let tables = Tables::upload(&door, state, &arguments.flights, arguments.csv_rows, &mut figures).await?;
    catalog::measure(&door, &tables, arguments.repetitions, &mut figures).await?;
    let folder = tempfile::tempdir()?;
    let peers = match &arguments.peers {
        Some(python) => Some(Peers::start(python, &door, &tables, folder.path().to_owned()).await?),
        None => None,
    };
    statements::measure(&door, &tables, peers.as_ref(), arguments.repetitions, &mut figures).await?;
    hop::bulk(&door, state, &tables.name("{wide}"), &mut figures).await?;
    levels::read(state, &mut figures)?;
    figures.print();
    figures.write(&state.join("bench.json"))
}
