//! Figures of a running site, through its front door only: no code of ours is called, only its
//! public HTTP and Flight SQL. All load is bounded in count and goes to loopback.

mod door;
mod figures;
mod ingest;
mod memory;
mod statements;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

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
    /// Rows of the uploaded CSV.
    #[arg(long, default_value_t = 1_000_000)]
    csv_rows: u64,
    /// Repetitions of each statement.
    #[arg(long, default_value_t = 100)]
    statements: usize,
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
    let mut figures = figures::Figures::default();
    memory::measure(&arguments.state, &mut figures)?;
    let door = door::Door::open(&arguments.state).await?;
    ingest::push(&door, arguments.rows, &mut figures).await?;
    ingest::upload(&door, arguments.csv_rows, &mut figures).await?;
    statements::measure(&door, arguments.statements, &mut figures).await?;
    figures.print();
    figures.write(&arguments.state.join("bench.json"))
}
