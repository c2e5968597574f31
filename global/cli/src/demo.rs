//! `cyto demo`: the demo against the running site, or against one started for it.

use std::process::ExitCode;

use crate::place::Place;
use crate::{client, up};

pub async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let code = |ok: bool| if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if stack::site::running(&place.state).is_some() {
        return client::demo::run(place).await.map(code);
    }
    let Some(site) = up::start(&up::Args::default(), place).await? else { return Ok(ExitCode::from(130)) };
    let outcome = tokio::select! {
        outcome = client::demo::run(place) => outcome,
        death = site.supervisor().death() => Err(stack::Error::from(death).into()),
        signal = up::asked_to_stop() => signal.map(|()| false),
    };
    site.stop().await;
    outcome.map(code)
}
