//! The `router` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use router::config::Config;
use router::run::{StartError, check, run};
use tracing_subscriber::filter::{EnvFilter, FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

// Every request makes and drops some hundred small pieces; the system's allocator takes several µs more for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The door: puts every request into its tenant's cell.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file.
    #[arg(long, env = "ROUTER_CONFIG")]
    config: PathBuf,
    /// Check configuration, identity and certificates, then end.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    router::tls::install_provider();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("router: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let config = Config::load(&arguments.config)?;
    if arguments.check {
        return check(&config);
    }
    log_to_stderr(&config.log);
    run(config)
}

/// Libraries below us print whole requests, tokens included, from their lower levels, and error
/// texts of pingora quote headers: whatever the filter says, only their errors and our own lines
/// are written.
fn log_to_stderr(filter: &str) {
    let wanted = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(filter));
    let wanted = wanted.unwrap_or_else(|_| EnvFilter::default().add_directive(LevelFilter::INFO.into()));
    let ours = FilterFn::new(|line| line.target().starts_with("router") || *line.level() == tracing::Level::ERROR);
    // Without the hint every line of every library would be asked about, several for each request.
    let ours = ours.with_max_level_hint(LevelFilter::TRACE);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(wanted.and(ours));
    tracing_subscriber::registry().with(lines).init();
}
