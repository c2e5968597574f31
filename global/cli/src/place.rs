//! Which site the command is about.

use std::path::PathBuf;

use clap::Args;

/// Where the site's state lies.
#[derive(Args, Debug, Clone)]
pub struct Place {
    /// State directory of the site.
    #[arg(long, env = "CYTO_STATE", default_value = ".cyto", global = true)]
    pub state: PathBuf,
}
