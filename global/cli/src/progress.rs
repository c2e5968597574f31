//! What a person sees while something takes its time.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use stack::report::{Event, Reporter};

/// Spinners on a terminal, plain lines elsewhere.
pub fn reporter() -> Reporter {
    if !std::io::stderr().is_terminal() {
        return Reporter::plain();
    }
    let screen = MultiProgress::new();
    let bars: Mutex<HashMap<String, ProgressBar>> = Mutex::default();
    Reporter::new(move |event| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begun { what } => {
                let bar = screen.add(ProgressBar::new_spinner().with_style(style()).with_message(what.clone()));
                bar.enable_steady_tick(Duration::from_millis(100));
                bars.insert(what, bar);
            }
            Event::Done { what, elapsed } => {
                let line = format!("  ✓ {what} {:.1} s", elapsed.as_secs_f64());
                end(&screen, bars.remove(&what), &line);
            }
            Event::Failed { what } => end(&screen, bars.remove(&what), &format!("  ✗ {what}")),
            Event::Said { line } => end(&screen, None, &format!("  {line}")),
        }
    })
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn end(screen: &MultiProgress, bar: Option<ProgressBar>, line: &str) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    // A line that cannot be drawn is not worth failing for.
    let _ = screen.println(line);
}
