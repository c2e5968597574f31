//! The commands of the binary.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::plane::{self, Plane};
use crate::{openapi, serve};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The global plane: sign-in, tenants, placements, contracts. Never on a request's path.
#[derive(Debug, Parser)]
#[command(name = "global", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Place {
    /// Configuration file.
    #[arg(long, env = "CYTO_CONFIG", default_value = "config.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring both databases up to this build and make the first administrator.
    Migrate(Place),
    /// Serve until SIGTERM.
    Serve(Place),
    /// Give the first administrator a new credential, if the old one was lost.
    BootstrapAdmin(Place),
    /// Print the effective configuration.
    Config(Place),
    /// Print the OpenAPI document.
    Openapi,
}

impl Arguments {
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Openapi => show(&openapi::document().to_pretty_json()?),
            Command::Config(place) => show(&toml::to_string(&Config::load(&place.config)?)?),
            Command::Migrate(place) => {
                kit::telemetry::init();
                migrate(&Config::load(&place.config)?, false).await
            }
            Command::BootstrapAdmin(place) => {
                kit::telemetry::init();
                migrate(&Config::load(&place.config)?, true).await
            }
            Command::Serve(place) => {
                kit::telemetry::init();
                serve::serve(&Config::load(&place.config)?).await
            }
        }
    }
}

async fn migrate(config: &Config, reissue: bool) -> Result<(), Failure> {
    let databases = plane::Databases::connect(config)?;
    identity::Identity::migrate(&databases.identity).await?;
    tenancy::Tenancy::migrate(&databases.tenancy).await?;
    plane::ensure_seal_key(config, &databases).await?;
    let plane = Plane::assemble(config, &databases)?;
    let file = config.secrets.dir.join("bootstrap-admin");
    if plane.identity.bootstrap(&file, reissue).await? {
        tracing::info!(file = %file.display(), "the first administrator's credential is in this file");
    }
    databases.close().await;
    Ok(())
}

/// A reader that closed the pipe has seen enough.
fn show(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
