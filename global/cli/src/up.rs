//! `cyto up`: the whole site, until Ctrl-C or until something dies.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use stack::addresses::Addresses;
use stack::parts::Parts;
use stack::site::{Arrangement, Description, Settings, Site, Until};
use tokio::signal::unix::{SignalKind, signal};
use trace::Telemetry;

use crate::client;
use crate::place::Place;
use crate::{progress, ready};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Stop after this stage.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Run the demo once the site is up.
    #[arg(long)]
    demo: bool,
    /// Run each service of a cell in a process of its own.
    #[arg(long)]
    apart: bool,
    /// Second octet of every address (127.<octet>.…): two sites may run side by side.
    #[arg(long)]
    octet: Option<u8>,
    /// Send spans to an OTLP collector that speaks HTTP, for example http://127.0.0.1:4318.
    #[arg(long)]
    otlp: Option<String>,
    /// Part of the traces that begin at the site and are recorded, 0 to 1.
    #[arg(long, requires = "otlp", default_value_t = 0.1)]
    sample_ratio: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Only {
    /// Fetch what is not ours.
    Parts,
    /// Run the servers that are not ours.
    Infrastructure,
}

pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    if matches!(args.only, Some(Only::Parts)) {
        return fetch_parts().await;
    }
    let Some(site) = start(&args, place).await? else { return Ok(stopped_early()) };
    let outcome = stay(&args, place, &site, begun).await;
    eprintln!("stopping");
    site.stop().await;
    outcome
}

/// Starts the site; `None` if Ctrl-C came first, with nothing left running.
pub async fn start(args: &Args, place: &Place) -> anyhow::Result<Option<Site>> {
    let settings = settings(args, place)?;
    let until = match args.only {
        Some(_) => Until::Infrastructure,
        None => Until::Everything,
    };
    let reporter = progress::reporter();
    tokio::select! {
        site = Site::start(settings, until, &reporter) => Ok(Some(site?)),
        // Dropping the start ends what it has started.
        signal = asked_to_stop() => signal.map(|()| None),
    }
}

async fn fetch_parts() -> anyhow::Result<ExitCode> {
    let (parts, reporter) = (Parts::in_cache()?, progress::reporter());
    parts.ensure_all(&parts.of_a_site(), &reporter).await?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args, place: &Place) -> anyhow::Result<Settings> {
    let mut settings = Settings::new(&place.state);
    let known = Description::read(&place.state)?;
    if let Some(octet) = args.octet.or(known.as_ref().map(|d| d.octet)) {
        settings.addresses = Addresses::with_octet(octet);
    }
    if let Some(known) = known {
        settings.cells = known.cells.into_iter().map(|cell| cell.plan).collect();
    }
    if args.apart {
        settings.arrangement = Arrangement::Apart;
    }
    settings.telemetry = Telemetry { otlp: args.otlp.clone(), sample_ratio: args.sample_ratio };
    settings.telemetry.validate()?;
    Ok(settings)
}

/// Runs until a signal or a death.
async fn stay(args: &Args, place: &Place, site: &Site, begun: Instant) -> anyhow::Result<ExitCode> {
    eprintln!("{}", ready::measured(site, begun.elapsed()));
    let mut code = ExitCode::SUCCESS;
    let work = async {
        if args.only.is_none() {
            if args.demo && !client::demo::run(place).await? {
                code = ExitCode::FAILURE;
            }
            println!("{}", ready::table(site, &client::tenants(place).await));
        }
        eprintln!("up; Ctrl-C stops everything and keeps the data");
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        outcome = work => outcome?,
        death = site.supervisor().death() => return Err(stack::Error::from(death).into()),
        signal = asked_to_stop() => signal?,
    }
    Ok(code)
}

/// Resolves at SIGINT or SIGTERM.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

pub fn stopped_early() -> ExitCode {
    eprintln!("stopped before it was up; nothing is left running");
    ExitCode::from(130)
}
