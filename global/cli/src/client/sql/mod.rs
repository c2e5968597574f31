//! `cyto sql`: a prompt on a tenant's tables, or one statement for scripts.

mod output;
mod prompt;
mod session;
mod statement;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

pub use session::Session;

use super::api::Api;
use super::credential::Credential;
use super::site::Site;
use crate::place::Place;
use output::Format;

#[derive(clap::Args)]
pub struct Args {
    /// Whose tables.
    #[arg(long, default_value = "acme")]
    tenant: String,
    /// Statements to run instead of the prompt, separated by `;`.
    #[arg(long, conflicts_with = "file")]
    sql: Option<String>,
    /// A file of statements; `-` is standard input.
    file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub async fn run(args: Args, place: &Place) -> anyhow::Result<ExitCode> {
    let site = Site::read(place)?;
    let credential = Credential::find(place, &Api::new(&site)?, &args.tenant)?;
    let session = Session::connect(&site, credential).await?;
    match script(&args)? {
        Some(script) => run_script(&session, &script, args.format).await.map_err(session::told),
        None => prompt::run(session, &args.tenant, place).await,
    }
}

/// The statements given by option, file or pipe; `None` means a prompt.
fn script(args: &Args) -> anyhow::Result<Option<String>> {
    if let Some(sql) = &args.sql {
        return Ok(Some(sql.clone()));
    }
    let from_stdin = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
            return Ok(Some(text));
        }
        Some(_) => true,
        None => !std::io::stdin().is_terminal(),
    };
    if !from_stdin {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(Some(text))
}

async fn run_script(session: &Session, script: &str, format: Format) -> anyhow::Result<ExitCode> {
    let (mut statements, rest) = statement::split(script);
    if !rest.trim().is_empty() {
        statements.push(rest);
    }
    for statement in &statements {
        let results = session.execute(statement).await?;
        output::stream(results, format, &mut std::io::stdout().lock()).await?;
    }
    Ok(ExitCode::SUCCESS)
}
