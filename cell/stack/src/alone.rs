//! One server by itself, on an address of its own: for tests that need a real one and no site.

use std::collections::BTreeSet;
use std::path::Path;

use contracts::nats::Permissions;

use crate::addresses::{Addresses, Spare};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::kafka::{Kafka, record_classes};
use crate::nats::Nats;
use crate::parts::Parts;
use crate::postgres::{Database, Postgres};
use crate::process::Supervisor;
use crate::report::Reporter;
use crate::secrets::Secrets;

/// A running server; it ends when this is dropped.
pub struct Alone<D> {
    pub driver: D,
    pub secrets: Secrets,
    pub supervisor: Supervisor,
    // Last: given back when the server has ended.
    _address: Spare,
}

/// A stranger, who claims nothing, may take the address between looking and binding.
const ATTEMPTS: usize = 5;

pub async fn postgres(dir: &Path, databases: Vec<Database>, reporter: &Reporter) -> Result<Alone<Postgres>> {
    let tree = Parts::in_cache()?.ensure("postgres", reporter).await?;
    start(dir, |address, secrets| {
        Postgres::new("alone", &dir.join("postgres"), address.cell(1), databases.clone(), secrets, tree.clone())
    })
    .await
}

pub async fn nats(dir: &Path, users: Vec<Permissions>, reporter: &Reporter) -> Result<Alone<Nats>> {
    let tree = Parts::in_cache()?.ensure("nats", reporter).await?;
    start(dir, |address, secrets| {
        Nats::new("alone", &dir.join("nats"), address.cell(1), users.clone(), secrets, tree.clone())
    })
    .await
}

pub async fn kafka(dir: &Path, principals: BTreeSet<String>, reporter: &Reporter) -> Result<Alone<Kafka>> {
    let tree = Parts::in_cache()?.ensure("kafka", reporter).await?;
    record_classes(&tree, reporter).await?;
    start(dir, |address, secrets| {
        Kafka::new("alone", &dir.join("kafka"), address.cell(1), principals.clone(), secrets, tree.clone())
    })
    .await
}

async fn start<D: Driver>(dir: &Path, describe: impl Fn(Addresses, Secrets) -> D) -> Result<Alone<D>> {
    let supervisor = Supervisor::new(&dir.join("run"), &dir.join("log"))?;
    let secrets = Secrets::in_dir(&dir.join("secrets"))?;
    let mut attempt = 1;
    loop {
        let address = Addresses::spare()?;
        let driver = describe(address.addresses(), secrets.clone());
        match driver.apply(&supervisor).await {
            Ok(()) => return Ok(Alone { driver, secrets, supervisor, _address: address }),
            Err(Error::PortTaken { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
