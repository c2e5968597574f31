//! The configuration files of our own processes, and the certificates they show each other.

use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};
use trace::Telemetry;

use super::settings::{CellPlan, Layout, Settings};
use crate::addresses::{
    GLOBAL_PORT, POSTGRES_PORT, ROUTER_ADMIN_PORT, ROUTER_FLIGHT_PORT, ROUTER_HTTP_PORT, ROUTER_HTTPS_PORT,
};
use crate::ca::{Authority, Subject};
use crate::ceph::{self, Bucket};
use crate::error::{Error, Result};
use crate::files::{private_dir, write_private};
use crate::kafka::Kafka;
use crate::nats::Nats;

const ROUTER: &str = contracts::services::ROUTER;
const GLOBAL: &str = contracts::services::GLOBAL;
/// The identity under which `cyto` itself speaks to the global plane.
pub(super) const CYTO: &str = "cyto";

fn table<const N: usize>(pairs: [(&str, Value); N]) -> Table {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn path(value: &Path) -> Value {
    text(value.display())
}

fn port(value: u16) -> Value {
    Value::Integer(value.into())
}

fn folder(dir: &Path) -> Value {
    Value::Table(table([("dir", path(dir))]))
}

fn write(file: &Path, content: &Table, telemetry: &Telemetry) -> Result<()> {
    let mut content = content.clone();
    let told = Value::try_from(telemetry).map_err(|e| Error::refused("a configuration cannot be written", e))?;
    content.insert("telemetry".to_owned(), told);
    let body = toml::to_string(&content).map_err(|e| Error::refused("a configuration cannot be written", e))?;
    write_private(file, format!("# Written by cyto; changed at every start.\n{body}").as_bytes()).map(|_| ())
}

pub(super) fn global_url(settings: &Settings) -> String {
    format!("https://{}:{GLOBAL_PORT}", settings.addresses.global())
}

pub(super) fn write_cell(
    settings: &Settings,
    layout: &Layout,
    cell: &CellPlan,
    kafka: &Kafka,
    nats: &Nats,
    bucket: &Bucket,
) -> Result<()> {
    let dir = layout.cell(&cell.name);
    private_dir(&dir.join("data"))?;
    let address = settings.addresses.cell(cell.number);
    let detours = settings.detours.get(&cell.name).cloned().unwrap_or_default();
    let postgres = detours.postgres.unwrap_or(SocketAddr::new(address, POSTGRES_PORT));
    let url = |scheme, detour: Option<SocketAddr>, usual: String| match detour {
        Some(detour) => text(format!("{scheme}://{detour}")),
        None => text(usual),
    };
    let content = table([
        ("cell", text(&cell.name)),
        ("address", text(address)),
        ("data_dir", path(&dir.join("data"))),
        ("global_url", url("https", detours.global, global_url(settings))),
        ("identity", folder(&dir.join("identity"))),
        ("secrets", folder(&dir.join("secrets"))),
        ("postgres", Value::Table(table([("host", text(postgres.ip())), ("port", port(postgres.port()))]))),
        ("kafka", Value::Table(table([("bootstrap", text(kafka.bootstrap()))]))),
        ("nats", Value::Table(table([("url", url("nats", detours.nats, nats.url()))]))),
        (
            "bucket",
            Value::Table(table([
                ("endpoint", url("http", detours.bucket, bucket.endpoint())),
                ("region", text(ceph::REGION)),
                ("name", text(ceph::BUCKET)),
                ("access_key", text(bucket.access_key())),
                ("role_arn", text(bucket.role_arn())),
            ])),
        ),
        ("services", Value::Table(settings.services.clone())),
    ]);
    write(&dir.join("config.toml"), &content, &settings.telemetry)
}

pub(super) fn write_global(settings: &Settings, layout: &Layout) -> Result<()> {
    let dir = layout.global();
    private_dir(&dir.join("data"))?;
    let address = settings.addresses.global();
    let content = table([
        ("address", text(address)),
        ("port", port(GLOBAL_PORT)),
        ("admin_port", port(contracts::services::ADMIN_PORT)),
        ("data_dir", path(&dir.join("data"))),
        ("public_url", text(format!("http://global.localhost:{ROUTER_HTTP_PORT}"))),
        ("host_suffix", text("localhost")),
        ("identity", folder(&dir.join("identity"))),
        ("secrets", folder(&dir.join("secrets"))),
        ("postgres", Value::Table(table([("host", text(address)), ("port", port(POSTGRES_PORT))]))),
    ]);
    write(&dir.join("config.toml"), &content, &settings.telemetry)
}

pub(super) fn write_router(settings: &Settings, layout: &Layout) -> Result<()> {
    let dir = layout.router();
    private_dir(&dir.join("data"))?;
    let listen = |port| text(SocketAddr::new(settings.addresses.router(), port));
    let content = table([
        ("data_dir", path(&dir.join("data"))),
        ("global_url", text(global_url(settings))),
        ("identity", folder(&dir.join("identity"))),
        (
            "listen",
            Value::Table(table([
                ("http", listen(ROUTER_HTTP_PORT)),
                ("https", listen(ROUTER_HTTPS_PORT)),
                ("flight", listen(ROUTER_FLIGHT_PORT)),
                ("admin", listen(ROUTER_ADMIN_PORT)),
            ])),
        ),
    ]);
    write(&dir.join("config.toml"), &content, &settings.telemetry)
}

/// Gives every process of the site its certificate.
pub(super) fn issue_certificates(settings: &Settings, layout: &Layout) -> Result<()> {
    let authority = Authority::open(&layout.ca())?;
    let mut router = Subject::new(ROUTER, ROUTER, settings.addresses.router());
    // Most clients refuse a wildcard right below a top-level name, so the names in use are spelt out too.
    router.names = ["*.localhost", "global.localhost", "acme.localhost", "globex.localhost"].map(str::to_owned).into();
    authority.issue(&layout.router().join("identity"), &router)?;
    for service in [GLOBAL, CYTO] {
        let subject = Subject::new(GLOBAL, service, settings.addresses.global());
        authority.issue(&layout.global().join("identity"), &subject)?;
    }
    for cell in &settings.cells {
        let identity = layout.cell(&cell.name).join("identity");
        let services = contracts::services::SERVICES.iter().map(|s| s.name);
        // `cell` is the host's own identity: what it does for no service in particular.
        for service in services.chain(["cell"]) {
            authority.issue(&identity, &Subject::new(&cell.name, service, settings.addresses.cell(cell.number)))?;
        }
    }
    Ok(())
}
