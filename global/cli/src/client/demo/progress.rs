//! What the demo says while it works: a bar on a terminal, plain lines without one.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::table::grouped;

/// One timed step of one tenant.
pub struct Stage {
    label: String,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Stage {
    /// `total` in rows; 0 when there is nothing to count.
    pub fn begin(tenant: &str, what: &str, total: u64) -> Self {
        let label = format!("{tenant:8} {what}");
        let bar = std::io::stderr().is_terminal().then(|| bar(&label, total));
        Self { label, begun: Instant::now(), bar }
    }

    pub fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// For work that counts by itself.
    pub fn bar(&self) -> Option<ProgressBar> {
        self.bar.clone()
    }

    /// Ends the stage and answers how many seconds it took.
    pub fn done(self, outcome: &str) -> f64 {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        println!("{:44} {outcome:>22} {seconds:8.2} s", self.label);
        seconds
    }

    /// Ends the stage with a number of rows.
    pub fn rows(self, rows: u64) -> f64 {
        self.done(&format!("{} rows", grouped(rows)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, total: u64) -> ProgressBar {
    let (bar, template) = match total {
        0 => (ProgressBar::new_spinner(), "{spinner} {msg:44} {elapsed}"),
        total => (ProgressBar::new(total), "{spinner} {msg:44} {bar:24} {human_pos}/{human_len} {per_sec}"),
    };
    // The templates are constants; a bar in the default style is still a bar.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
