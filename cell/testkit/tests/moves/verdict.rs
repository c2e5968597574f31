//! Everything that was acknowledged is there once.

use std::time::Duration;

use anyhow::ensure;
use testkit::{eventually, within};

use crate::client::{BATCH, Told};
use crate::moving::Outcome;
use crate::rows;
use crate::world::Mobile;

const PATIENCE: Duration = Duration::from_secs(180);

pub async fn of(outcome: &Outcome) -> anyhow::Result<()> {
    for (mobile, told) in &outcome.clients {
        eventually("it signs in", || mobile.tenant.renew()).await?;
        ensure!(
            told.stale.is_empty(),
            "{} reads were older than what was acknowledged: {:?}",
            told.stale.len(),
            told.stale
        );
        every_row_is_there_once(mobile, told).await?;
        let chain = mobile.tenant.get("/api/v1/audit/verify").await?;
        ensure!(chain["intact"] == true, "{}: {chain}", mobile.tenant.id);
    }
    Ok(())
}

async fn every_row_is_there_once(mobile: &Mobile, told: &Told) -> anyhow::Result<()> {
    let unknown: Vec<String> = told.unknown.iter().map(u64::to_string).collect();
    let known = match unknown.is_empty() {
        true => String::new(),
        false => format!(" where id / {BATCH} not in ({})", unknown.join(", ")),
    };
    let rows = i64::try_from(told.pushed.len() as u64 * BATCH)?;
    let counted = format!("select count(*) from streams.orders{known}");
    within(PATIENCE, &format!("the rows of {} are committed", mobile.tenant.id), || async {
        let there = rows::number(&mobile.tenant, &counted).await?;
        ensure!(there >= rows, "{there} of {rows}");
        Ok(())
    })
    .await?;
    let there = rows::number(&mobile.tenant, &counted).await?;
    ensure!(there == rows, "{}: {rows} rows were acknowledged, {there} are there", mobile.tenant.id);
    let twice = "select count(*) from (select id from streams.orders group by id having count(*) > 1)";
    let twice = rows::number(&mobile.tenant, twice).await?;
    ensure!(twice == 0, "{}: {twice} rows are there more than once", mobile.tenant.id);
    Ok(())
}
