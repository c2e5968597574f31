//! Service levels that only the site can see, as its operators are told them.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::door::CELL;
use crate::figures::Figures;

/// Adds what `cyto status` says of the tenant's cell since it was started.
pub fn read(state: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let cyto = std::env::current_exe()?.with_file_name("cyto");
    let answer = Command::new(cyto).args(["status", "--json"]).env("CYTO_STATE", state).output()?;
    let report: Value = serde_json::from_slice(&answer.stdout).context("cyto status")?;
    let mut cells = report["cells"].as_array().into_iter().flatten();
    let cell = cells.find(|cell| cell["name"] == CELL).with_context(|| format!("no cell {CELL}"))?;
    for (field, name) in [
        ("controlEventP50Seconds", "control event, true to dealt with, p50"),
        ("controlEventP99Seconds", "control event, true to dealt with, p99"),
        ("freshnessP99Seconds", "freshness of all commits, oldest row made to committed, p99"),
    ] {
        let seconds = cell[field].as_f64().with_context(|| format!("the cell does not tell {field}: {cell}"))?;
        figures.add(name, seconds * 1000.0, "ms");
    }
    Ok(())
}
