//! `cyto down`: stops the site of a state directory, wherever it was started.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::Signal;
use stack::site;

use crate::place::Place;

/// Everything drains and stops within this.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub struct Args {
    /// Also delete all of its data.
    #[arg(long)]
    purge: bool,
}

pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    match site::running(&place.state) {
        Some(cyto) => {
            cyto.signal(Signal::SIGTERM);
            if !cyto.gone_within(PATIENCE).await {
                bail!("the site (cyto, pid {}) has not stopped within {} s", cyto.pid, PATIENCE.as_secs());
            }
            println!("stopped");
        }
        None => {
            let ended = site::end_leftovers(&place.state).await;
            match ended.as_slice() {
                [] => println!("no site runs in {}", place.state.display()),
                names => println!("ended what an earlier run left behind: {}", names.join(", ")),
            }
        }
    }
    if args.purge {
        site::purge(&place.state)?;
        println!("removed {}", place.state.display());
    }
    Ok(ExitCode::SUCCESS)
}
