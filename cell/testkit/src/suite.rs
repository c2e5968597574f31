//! A suite whose cases share one costly thing and run in a given order, for a test binary with
//! `harness = false`. It speaks enough of libtest's command line for `cargo test` and its filters.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

/// No case may hang the run. Longer than the waits inside the cases, which say what they waited for, and
/// less than the life of the tokens that a case begins with.
const CASE_LIMIT: Duration = Duration::from_secs(600);

/// One test. Cases run one after the other, in the order they were given.
pub struct Case<S> {
    pub name: &'static str,
    pub run: fn(Arc<S>) -> BoxFuture<'static, anyhow::Result<()>>,
}

impl<S> Clone for Case<S> {
    fn clone(&self) -> Self {
        Self { name: self.name, run: self.run }
    }
}

pub struct Suite<S> {
    cases: Vec<Case<S>>,
}

/// What `cargo test` passes on.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    list: bool,
    exact: bool,
    filters: Vec<String>,
    skip: Vec<String>,
}

impl Wanted {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => wanted.list = true,
                "--exact" => wanted.exact = true,
                "--skip" => wanted.skip.extend(arguments.next()),
                // Options with a value that mean nothing to a sequence.
                "--test-threads" | "--format" | "--color" | "-Z" | "--logfile" => {
                    let _value = arguments.next();
                }
                option if option.starts_with('-') => {}
                filter => wanted.filters.push(filter.to_owned()),
            }
        }
        wanted
    }

    fn takes(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

impl<S: Send + Sync + 'static> Suite<S> {
    pub fn new(cases: Vec<Case<S>>) -> Self {
        Self { cases }
    }

    /// Starts the shared thing, runs the cases asked for, stops it (telling whether all passed); the exit
    /// code of the binary. Makes the runtime they run in.
    /// With nothing to run, nothing is started.
    pub fn run<Start, Stop>(self, start: impl FnOnce() -> Start, stop: impl FnOnce(Arc<S>, bool) -> Stop) -> ExitCode
    where
        Start: Future<Output = anyhow::Result<S>>,
        Stop: Future<Output = ()>,
    {
        kit::tls::install_provider();
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.play(start, stop)),
            Err(error) => {
                eprintln!("no runtime: {error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn play<Start, Stop>(self, start: impl FnOnce() -> Start, stop: impl FnOnce(Arc<S>, bool) -> Stop) -> ExitCode
    where
        Start: Future<Output = anyhow::Result<S>>,
        Stop: Future<Output = ()>,
    {
        let wanted = Wanted::parse(std::env::args().skip(1));
        let cases: Vec<Case<S>> = self.cases.iter().filter(|case| wanted.takes(case.name)).cloned().collect();
        if wanted.list {
            cases.iter().for_each(|case| println!("{}: test", case.name));
            return ExitCode::SUCCESS;
        }
        println!("\nrunning {} tests", cases.len());
        if cases.is_empty() {
            return verdict(0, &[], self.cases.len(), Duration::ZERO);
        }
        let begun = Instant::now();
        let shared = match start().await {
            Ok(shared) => Arc::new(shared),
            Err(error) => {
                println!("the suite could not start: {error:#}");
                return ExitCode::FAILURE;
            }
        };
        println!("started in {:.1} s", begun.elapsed().as_secs_f64());
        let mut failed = Vec::new();
        for case in &cases {
            if let Err(reason) = run_case(case, shared.clone()).await {
                failed.push((case.name, reason));
            }
        }
        stop(shared, failed.is_empty()).await;
        verdict(cases.len(), &failed, self.cases.len() - cases.len(), begun.elapsed())
    }
}

async fn run_case<S: Send + Sync + 'static>(case: &Case<S>, shared: Arc<S>) -> Result<(), String> {
    let begun = Instant::now();
    // A task of its own: a panic ends the case, not the suite.
    let task = tokio::spawn((case.run)(shared));
    let abort = task.abort_handle();
    let outcome = match tokio::time::timeout(CASE_LIMIT, task).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("{error:#}")),
        Ok(Err(panic)) => Err(panic.to_string()),
        Err(_) => {
            abort.abort();
            Err(format!("no end within {} s", CASE_LIMIT.as_secs()))
        }
    };
    let word = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("test {} ... {word} ({:.1} s)", case.name, begun.elapsed().as_secs_f64());
    if let Err(reason) = &outcome {
        println!("    {reason}");
    }
    outcome
}

fn verdict(ran: usize, failed: &[(&str, String)], left_out: usize, took: Duration) -> ExitCode {
    if !failed.is_empty() {
        println!("\nfailures:");
        failed.iter().for_each(|(name, reason)| println!("    {name}: {reason}"));
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; {left_out} filtered out; finished in {:.2}s\n",
        ran - failed.len(),
        failed.len(),
        took.as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Wanted {
        Wanted::parse(words.iter().map(|w| (*w).to_owned()))
    }

    #[test]
    fn filters_are_read_as_libtest_reads_them() {
        let filtered = wanted(&["--nocapture", "tokens", "--skip", "expired", "--test-threads", "1"]);
        assert!(filtered.takes("tokens_are_refused") && !filtered.takes("tokens_expired") && !filtered.takes("1"));
        assert!(wanted(&["--exact", "tokens"]).takes("tokens") && !wanted(&["--exact", "token"]).takes("tokens"));
        assert!(wanted(&["--list"]).list && wanted(&[]).takes("anything"));
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_case() {
        let case = Case::<()> { name: "broken", run: |_| Box::pin(async { panic!("on purpose") }) };
        assert!(run_case(&case, Arc::new(())).await.is_err());
        let case = Case::<()> { name: "whole", run: |_| Box::pin(async { Ok(()) }) };
        assert!(run_case(&case, Arc::new(())).await.is_ok());
    }
}
