//! What the `cell` command can be asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use contracts::services::SERVICES;
use contracts::{bundle, kafka};
use kit::config::{CellConfig, load};
use kit::service::{KafkaEndpoint, NatsEndpoint};

use crate::{host, lint, openapi, services};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Hosts the services of one cell.
#[derive(Debug, Parser)]
#[command(name = "cell", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The cell's configuration.
    #[arg(long, env = "CYTO_CELL_CONFIG", default_value = "config.toml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<CellConfig, Failure> {
        Ok(load(&self.config)?)
    }
}

#[derive(Debug, clap::Args)]
struct Selection {
    /// `all`, planes and service names, separated by commas.
    #[arg(long, default_value = "all")]
    services: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the selected services until SIGTERM.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        selection: Selection,
        /// Health and metrics; the cell's address and port 9100 when absent.
        #[arg(long)]
        admin: Option<SocketAddr>,
    },
    /// Bring the selected services' databases to this build's schema.
    Migrate {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        selection: Selection,
    },
    /// List the services, their planes, ports and callers.
    Services,
    /// The bus contracts: topics, streams, principals, permissions.
    Contracts {
        #[command(subcommand)]
        action: ContractsAction,
    },
    /// Print the configuration as it takes effect, without secrets.
    Config {
        #[command(flatten)]
        file: ConfigFile,
        /// Include defaults (always on; the flag is the documented spelling).
        #[arg(long)]
        effective: bool,
    },
    /// Print the OpenAPI documents, one JSON object by service name.
    Openapi,
}

#[derive(Debug, Subcommand)]
enum ContractsAction {
    /// Reconcile Kafka and NATS with the contracts; prints each change.
    Apply {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print each difference between the brokers and the contracts; exits 1 when there is one.
    Drift {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Check source code for buses, topics and subjects without a contract; exits 1 on a finding.
    Lint {
        /// Root of the source tree.
        #[arg(long, default_value = ".")]
        source: PathBuf,
    },
}

impl Arguments {
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve { file, selection, admin } => {
                kit::telemetry::init();
                let config = file.load()?;
                host::serve(config, services::select(&selection.services)?, admin).await
            }
            Command::Migrate { file, selection } => {
                host::migrate(&file.load()?, services::select(&selection.services)?).await
            }
            Command::Services => {
                list_services();
                Ok(())
            }
            Command::Contracts { action } => action.run().await,
            Command::Config { file, .. } => {
                println!("{:#?}", file.load()?);
                Ok(())
            }
            Command::Openapi => {
                println!("{}", serde_json::to_string_pretty(&openapi::documents()?)?);
                Ok(())
            }
        }
    }
}

fn list_services() {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["service", "plane", "http", "flight", "database", "called by"]);
    for service in SERVICES {
        table.add_row([
            service.name.to_owned(),
            service.plane.name().to_owned(),
            service.http_port.to_string(),
            service.flight_port.map_or("-".to_owned(), |p| p.to_string()),
            if service.database { contracts::services::database_name(service.name) } else { "-".to_owned() },
            service.callers.join(", "),
        ]);
    }
    println!("{table}");
}

impl ContractsAction {
    async fn run(self) -> Result<(), Failure> {
        match self {
            ContractsAction::Apply { file } => {
                let (kafka, nats) = admins(&file.load()?)?;
                let mut changes = event_bus_data::contract::apply(&kafka).await?;
                changes.extend(event_bus_control::contract::apply(&nats).await?);
                changes.iter().for_each(|change| println!("{change}"));
                println!(
                    "contracts version {} applied: {} topics, {} changes",
                    bundle::VERSION,
                    kafka::topics().len(),
                    changes.len()
                );
                Ok(())
            }
            ContractsAction::Drift { file } => {
                let drift = drift(&file.load()?).await?;
                drift.iter().for_each(|difference| println!("{difference}"));
                refuse_if(!drift.is_empty(), format!("{} differences", drift.len()))
            }
            ContractsAction::Lint { source } => {
                let findings = lint::lint(&source)?;
                findings.iter().for_each(|finding| println!("{finding}"));
                refuse_if(!findings.is_empty(), format!("{} findings", findings.len()))
            }
        }
    }
}

fn refuse_if(failed: bool, why: String) -> Result<(), Failure> {
    if failed { Err(why.into()) } else { Ok(()) }
}

/// Differences between the brokers and the contracts, in words.
pub async fn drift(config: &CellConfig) -> Result<Vec<String>, Failure> {
    let (kafka, nats) = admins(config)?;
    let mut drift = event_bus_data::contract::drift(&kafka).await?;
    drift.extend(event_bus_control::contract::drift(&nats).await?);
    Ok(drift)
}

/// The brokers' administrators. Only `contracts` commands and the drift report use them.
fn admins(config: &CellConfig) -> Result<(KafkaEndpoint, NatsEndpoint), Failure> {
    let kafka = KafkaEndpoint {
        bootstrap: config.kafka.bootstrap.clone(),
        username: "admin".to_owned(),
        password: config.secrets.read("admin.kafka")?,
    };
    let nats = NatsEndpoint {
        url: config.nats.url.clone(),
        username: "contracts".to_owned(),
        password: config.secrets.read("contracts.nats")?,
    };
    Ok((kafka, nats))
}
