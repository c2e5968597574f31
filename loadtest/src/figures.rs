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

/// Milliseconds below which `share` of `times` lie; NaN of none.
pub fn quantile(times: &mut [f64], share: f64) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let index = ((times.len() as f64 - 1.0) * share).round() as usize;
    times.get(index).copied().unwrap_or(f64::NAN)
}

pub fn milliseconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
}

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        eprintln!("  {name}: {value:.2} {unit}");
        self.0.push(Figure { name, value, unit });
    }

    /// Median, 99th and, of a thousand or more, 99.9th percentile, in milliseconds. The median is answered.
    pub fn add_times(&mut self, name: &str, times: &[Duration]) -> f64 {
        let mut times = milliseconds(times);
        let median = quantile(&mut times, 0.50);
        self.add(format!("{name}, p50"), median, "ms");
        self.add(format!("{name}, p99"), quantile(&mut times, 0.99), "ms");
        if times.len() >= 1_000 {
            self.add(format!("{name}, p99.9"), quantile(&mut times, 0.999), "ms");
        }
        median
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
