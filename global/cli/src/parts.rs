//! `cyto parts`: where the parts lie that are not ours.

use std::process::ExitCode;

use stack::parts::Parts;

use crate::progress;

#[derive(clap::Args)]
pub struct Args {
    /// Print this part's folder only; it is fetched if it is not there.
    name: Option<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let parts = Parts::in_cache()?;
    if let Some(name) = &args.name {
        println!("{}", parts.ensure(name, &progress::reporter()).await?.root().display());
        return Ok(ExitCode::SUCCESS);
    }
    for part in parts.list() {
        let place = match parts.find(&part.name).await? {
            Some(tree) => tree.root().display().to_string(),
            None => "not fetched".to_owned(),
        };
        println!("{:<14} {place}\n{:<14} {}", part.name, "", part.purpose);
    }
    Ok(ExitCode::SUCCESS)
}
