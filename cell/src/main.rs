//! The host of a cell's services.

mod admin;
mod command;
mod host;
mod lint;
mod openapi;
mod services;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    kit::tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cell: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::Arguments::parse().run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cell: {}", kit::fault::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
