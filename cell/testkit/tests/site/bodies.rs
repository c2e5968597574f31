//! Malformed and oversized bodies on every write route.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use testkit::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::openapi::{Route, routes};
use crate::rows;
use crate::world::World;

/// More than any JSON document of the API, in bytes.
const LARGE: usize = 64 << 20;
/// More than anything: 1 TiB.
const ENORMOUS: u64 = 1 << 40;

fn is_write(route: &Route) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(&route.method) && !route.bodies.is_empty()
}

/// Own things, made for this test, so that a body is what gets refused.
struct Own {
    tenant: testkit::Tenant,
    dataset: String,
    transaction: String,
    stream: String,
}

impl Own {
    async fn make(world: &World) -> anyhow::Result<Self> {
        let tenant = world.tenant("bodies").await?;
        let dataset = rows::dataset(&tenant, "target").await?;
        let stream = rows::stream(&tenant, "target").await?;
        let path = format!("/api/v1/datasets/{dataset}/transactions?type=APPEND");
        let view = Answer::of(tenant.request(Method::POST, &path)).await?.good()?;
        let transaction = view["id"].as_str().context("no transaction id")?.to_owned();
        Ok(Self { tenant, dataset, transaction, stream })
    }

    fn path(&self, route: &Route) -> anyhow::Result<String> {
        route.path(|parameter| {
            Some(match parameter {
                "dataset" | "dataset_id" => self.dataset.clone(),
                "tx" | "transaction" | "transaction_id" => self.transaction.clone(),
                "stream" | "stream_id" | "sink" | "id" => self.stream.clone(),
                "prefix" | "tenant" => self.tenant.id.clone(),
                "namespace" => "datasets".to_owned(),
                "table" | "view" => "target".to_owned(),
                "path" | "file" => "part.csv".to_owned(),
                _ => return None,
            })
        })
    }
}

pub async fn malformed_bodies_are_refused(world: Arc<World>) -> anyhow::Result<()> {
    let own = Own::make(&world).await?;
    let mut checked = 0;
    for route in routes(&own.tenant).await?.iter().filter(|r| is_write(r)) {
        let path = own.path(route)?;
        for kind in &route.bodies {
            for body in [b"{\"broken".to_vec(), vec![0xff, 0x00, 0xfe, 0x7b, 0x22], b"[[[[[[[[".to_vec(), Vec::new()] {
                let request = own.tenant.request(route.method.clone(), &path).header("content-type", kind);
                let answer = Answer::of(request.body(body.clone())).await.with_context(|| route.label())?;
                let what = || format!("{} {kind} {body:?}: {} {}", route.label(), answer.status, answer.excerpt());
                ensure!(!answer.status.is_server_error(), "{}", what());
                if kind == "application/json" && !body.is_empty() {
                    ensure!(answer.status.is_client_error(), "{}", what());
                }
                checked += 1;
            }
        }
    }
    ensure!(checked >= 20, "only {checked} calls were made");
    own.tenant.get("/api/v1/me").await?;
    Ok(())
}

/// A document that is too long is refused with 413, not read into memory.
pub async fn oversized_documents_are_refused(world: Arc<World>) -> anyhow::Result<()> {
    let own = Own::make(&world).await?;
    let mut checked = 0;
    for route in routes(&own.tenant).await?.iter().filter(|r| is_write(r) && r.takes_json() && r.bodies.len() == 1) {
        let answer = announce(&own, route, LARGE as u64).await?;
        ensure!(answer.contains(" 413 "), "{}: {answer}", route.label());
        checked += 1;
    }
    ensure!(checked >= 5, "only {checked} routes were tried");
    Ok(())
}

pub async fn enormous_bodies_are_refused_on_every_write_route(world: Arc<World>) -> anyhow::Result<()> {
    let own = Own::make(&world).await?;
    for route in routes(&own.tenant).await?.iter().filter(|r| is_write(r)) {
        let answer = announce(&own, route, ENORMOUS).await?;
        ensure!(answer.contains(" 413 "), "{}: {answer}", route.label());
    }
    Ok(())
}

/// Announces a body of `length` bytes and sends zeros until the answer comes; its first line.
async fn announce(own: &Own, route: &Route, length: u64) -> anyhow::Result<String> {
    let (path, kind) = (own.path(route)?, route.bodies.first().context("no body")?);
    let head = format!(
        "{} {path} HTTP/1.1\r\nhost: {}.localhost\r\nauthorization: Bearer {}\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n",
        route.method,
        own.tenant.id,
        own.tenant.token()
    );
    let (mut read, mut write) = TcpStream::connect(own.tenant.http().router()).await?.into_split();
    write.write_all(head.as_bytes()).await?;
    let feed = tokio::spawn(async move {
        let zeros = vec![b' '; 64 << 10];
        let mut left = length;
        // A refused body's connection is closed under us: that is the point.
        while left > 0 && write.write_all(&zeros[..zeros.len().min(left as usize)]).await.is_ok() {
            left = left.saturating_sub(zeros.len() as u64);
        }
        write
    });
    let mut answer = [0_u8; 512];
    let limit = Duration::from_secs(60);
    let read = tokio::time::timeout(limit, read.read(&mut answer)).await;
    feed.abort();
    let length = read.with_context(|| format!("{}: no answer", route.label()))??;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
