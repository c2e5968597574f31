//! What the router adds: the same request through it and, with its own certificate, past it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contracts::{headers, services};
use futures::TryStreamExt;
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder};

use crate::door::{CELL, Door};
use crate::figures::{Figures, milliseconds, quantile};

/// Answered by the cell's gateway itself.
const PATH: &str = "/api/v1/me";
/// Requests in one turn; turns go direct, routed, routed, direct.
const TURN: usize = 250;
const TURNS: [bool; 8] = [false, true, true, false, false, true, true, false];

/// A whole table, this often each way.
const READS: [bool; 4] = [false, true, true, false];

/// The cell's gateway as only the router may reach it.
struct Direct {
    http: Client,
    base: String,
    generation: String,
}

/// The router's own certificate, as lies in the site's state.
struct Pass {
    ca: Vec<u8>,
    own: Vec<u8>,
}

pub async fn measure(door: &Door, state: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let direct = Direct::new(door, state).await?;
    let (mut routed, mut straight) = (Vec::new(), Vec::new());
    for through_router in TURNS {
        for _ in 0..TURN {
            match through_router {
                true => routed.push(timed(door.request(Method::GET, PATH)).await?),
                false => straight.push(timed(direct.request(door)).await?),
            }
        }
    }
    figures.add_times("one request, past the router", &straight);
    figures.add_times("one request, through the router", &routed);
    let (mut routed, mut straight) = (milliseconds(&routed), milliseconds(&straight));
    for share in [0.50, 0.99] {
        let added = quantile(&mut routed, share) - quantile(&mut straight, share);
        figures.add(format!("router adds, difference of p{:.0}", share * 100.0), added, "ms");
    }
    Ok(())
}

/// Rows of a table from the cell's SQL edge: what of the rate past the router is left through it.
pub async fn bulk(door: &Door, state: &Path, table: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let direct = past_the_router(door, state).await?;
    let sql = format!("select * from {table}");
    // The first of each fills caches and opens windows.
    for client in [&direct, &door.sql] {
        read(client, &sql).await?;
    }
    let (mut routed, mut straight) = (Vec::new(), Vec::new());
    for through_router in READS {
        let (client, rates) = if through_router { (&door.sql, &mut routed) } else { (&direct, &mut straight) };
        rates.push(read(client, &sql).await?);
    }
    let (routed, straight) = (quantile(&mut routed, 0.50), quantile(&mut straight, 0.50));
    figures.add("whole table over Flight, past the router", straight, "MB/s");
    figures.add("whole table over Flight, through the router", routed, "MB/s");
    figures.add("whole table over Flight, through / past the router", routed / straight, "times");
    Ok(())
}

/// Megabytes of record batches a second.
async fn read(client: &flight_sql::Client, sql: &str) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut batches = client.execute(sql).await?;
    let mut bytes = 0;
    while let Some(batch) = batches.try_next().await? {
        bytes += batch.get_array_memory_size();
    }
    Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

async fn past_the_router(door: &Door, state: &Path) -> anyhow::Result<flight_sql::Client> {
    let pass = Pass::read(state)?;
    let edge = services::declared(services::SQL_BI_GATEWAY);
    let port = edge.flight_port.context("the edge has no Flight port")?;
    let tls = flight_sql::Tls {
        ca_pem: Some(pass.ca),
        server_name: Some(format!("{}.{CELL}.cytoplane.internal", edge.name)),
        identity_pem: Some(pass.own),
    };
    let channel = flight_sql::connect(&format!("https://{}:{port}", door.gateway.ip()), tls).await?;
    let me = door.json(door.request(Method::GET, PATH)).await?;
    Ok(flight_sql::Client::new(channel)
        .with_bearer(door.token())?
        .with_header(headers::TENANT, door.tenant())?
        .with_header(headers::CELL, CELL)?
        .with_header(headers::GENERATION, &me["generation"].to_string())?)
}

impl Pass {
    fn read(state: &Path) -> anyhow::Result<Self> {
        let identity = state.join("router").join("identity");
        let read = |name: &str| std::fs::read(identity.join(name)).with_context(|| name.to_owned());
        Ok(Self { ca: read("ca.pem")?, own: [read("router/cert.pem")?, read("router/key.pem")?].concat() })
    }
}

async fn timed(request: RequestBuilder) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let answer = request.send().await?;
    let status = answer.status();
    answer.bytes().await?;
    ensure!(status.is_success(), "{PATH}: {status}");
    Ok(started.elapsed())
}

impl Direct {
    async fn new(door: &Door, state: &Path) -> anyhow::Result<Self> {
        let pass = Pass::read(state)?;
        let name = format!("{}.{CELL}.cytoplane.internal", services::GATEWAY);
        let http = Client::builder()
            .no_proxy()
            .use_rustls_tls()
            .tls_built_in_root_certs(false)
            .add_root_certificate(Certificate::from_pem(&pass.ca)?)
            .identity(Identity::from_pem(&pass.own)?)
            .resolve(&name, door.gateway)
            .build()?;
        let me = door.json(door.request(Method::GET, PATH)).await?;
        let base = format!("https://{name}:{}", door.gateway.port());
        Ok(Self { http, base, generation: me["generation"].to_string() })
    }

    fn request(&self, door: &Door) -> RequestBuilder {
        self.http
            .get(format!("{}{PATH}", self.base))
            .bearer_auth(door.token())
            .header(headers::TENANT, door.tenant())
            .header(headers::CELL, CELL)
            .header(headers::GENERATION, &self.generation)
    }
}
