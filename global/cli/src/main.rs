//! `cyto`: starts a site, says what is missing, and speaks to the platform as any client does.

mod client;
mod doctor;
mod down;
mod during;
mod parts;
mod place;
mod progress;
mod ready;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::place::Place;

/// Cytoplane on the command line.
#[derive(Parser)]
#[command(name = "cyto", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the site and stay until Ctrl-C.
    Up(up::Args),
    /// Stop a running site; with --purge also delete its data.
    Down(down::Args),
    /// Say what is missing or broken and how to mend it.
    Doctor(doctor::Args),
    /// Say where the servers and data that are not ours lie.
    Parts(parts::Args),
    /// Run a command while a site is up: the running one, or one started for it.
    During(during::Args),
    #[command(flatten)]
    Client(client::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Both rings of rustls are in the lock file: one is chosen here, once.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("cyto: a TLS provider was already installed");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cyto: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cyto: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(args) => up::run(args, &cli.place).await,
        Command::Down(args) => down::run(args, &cli.place).await,
        Command::Doctor(args) => doctor::run(args, &cli.place).await,
        Command::Parts(args) => parts::run(args).await,
        Command::During(args) => during::run(args, &cli.place).await,
        // Unlike the other clients, the demo may start a site for itself.
        Command::Client(client::Command::Demo(_)) => during::demo(&cli.place).await,
        Command::Client(command) => client::run(command, &cli.place).await,
    }
}
