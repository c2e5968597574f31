//! The host of the global plane: identity and tenancy in one process, each with its own database.

mod access;
mod command;
mod config;
mod glue;
mod openapi;
mod plane;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    kit::tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("global: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::Arguments::parse().run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("global: {}", kit::fault::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
