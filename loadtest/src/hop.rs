//! What the router adds: the same request through it and, with its own certificate, past it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use contracts::{headers, services};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder};

use crate::door::{CELL, Door};
use crate::figures::{Figures, milliseconds, quantile};

/// Answered by the cell's gateway itself.
const PATH: &str = "/api/v1/me";
/// Requests in one turn; turns go direct, routed, routed, direct.
const TURN: usize = 250;
const TURNS: [bool; 8] = [false, true, true, false, false, true, true, false];

/// The cell's gateway as only the router may reach it.
struct Direct {
    http: Client,
    base: String,
    generation: String,
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
        let identity = state.join("router").join("identity");
        let read = |name: &str| std::fs::read(identity.join(name)).with_context(|| name.to_owned());
        let own = [read("router/cert.pem")?, read("router/key.pem")?].concat();
        let name = format!("{}.{CELL}.cytoplane.internal", services::GATEWAY);
        let http = Client::builder()
            .no_proxy()
            .use_rustls_tls()
            .tls_built_in_root_certs(false)
            .add_root_certificate(Certificate::from_pem(&read("ca.pem")?)?)
            .identity(Identity::from_pem(&own)?)
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
