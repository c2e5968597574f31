//! Work that needs a site: in the running one, or in one started for it and stopped afterwards.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;

use crate::place::Place;
use crate::{client, up};

#[derive(clap::Args)]
pub struct Args {
    /// Program and arguments; CYTO_STATE tells it which site.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// `cyto demo`.
pub async fn demo(place: &Place) -> anyhow::Result<ExitCode> {
    let play =
        async { client::demo::run(place).await.map(|ok| if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }) };
    with_site(place, play).await
}

/// `cyto during -- CMD…`: exits as the command does.
pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let command = async {
        let (program, rest) = args.command.split_first().context("no command is given")?;
        let state = place.state.canonicalize().context("the site has no state directory")?;
        let mut command = tokio::process::Command::new(program);
        let status = command.args(rest).env("CYTO_STATE", state).kill_on_drop(true).status().await;
        let status = status.with_context(|| format!("{} cannot be run", program.display()))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
    };
    with_site(place, command).await
}

async fn with_site(place: &Place, work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    if stack::site::running(&place.state).is_some() {
        return work.await;
    }
    let Some(site) = up::start(&up::Args::default(), place).await? else { return Ok(up::stopped_early()) };
    let outcome = tokio::select! {
        outcome = work => outcome,
        death = site.supervisor().death() => Err(stack::Error::from(death).into()),
        signal = up::asked_to_stop() => signal.map(|()| up::stopped_early()),
    };
    site.stop().await;
    outcome
}
