//! What was measured, with its unit.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

#[derive(Debug, Default, Serialize)]
pub struct Figures(Vec<Figure>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        eprintln!("  {name}: {value:.2} {unit}");
        self.0.push(Figure { name, value, unit });
    }

    /// Median and 99th percentile of `times`, in milliseconds.
    pub fn add_times(&mut self, name: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 - 1.0) * share).round() as usize;
            times.get(index).map_or(f64::NAN, |t| t.as_secs_f64() * 1000.0)
        };
        self.add(format!("{name}, p50"), at(0.50), "ms");
        self.add(format!("{name}, p99"), at(0.99), "ms");
    }

    pub fn print(&self) {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY).set_header(["figure", "value", "unit"]);
        for figure in &self.0 {
            table.add_row([figure.name.clone(), format!("{:.2}", figure.value), figure.unit.to_owned()]);
        }
        println!("{table}");
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        println!("written to {}", path.display());
        Ok(())
    }
}
