//! One function per use case.

use contracts::TenantId;
use contracts::claims::scope;
use kit::Scope;
use kit::database::{Database, Tx};
use kit::http::{Page, PageRequest};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::domain::{DEEPEST, Direction, MOST_NODES, Run, RunEvent, Walk};
use crate::error::Error;
use crate::store::{self, EventRow, NodeRow};

/// Edges read per level: more than this from one level and the walk is cut, and says so.
const LEVEL_EDGES: usize = 4 * MOST_NODES;

/// Takes an event into the graph once, whatever the bus repeats.
pub async fn take(tx: &mut Tx, tenant: &TenantId, event: &RunEvent) -> Result<(), Error> {
    event.check()?;
    store::lock_tenant(tx, tenant).await?;
    let at = event.at.format(&Rfc3339).map_err(Error::stored)?;
    if !store::insert_event(tx, tenant, event, &event.open_lineage(&at)).await? {
        return Ok(());
    }
    let known = store::run(tx, tenant, event.run_id).await?;
    let run = Run::after(known, event.state, event.at);
    store::put_run(tx, tenant, event.run_id, &event.job.id(), &run).await?;
    let latest = json!({ "latestRun": { "runId": event.run_id, "state": run.state.name() } });
    store::put_node(tx, tenant, &event.job, &latest, event.at).await?;
    for dataset in event.inputs.iter().chain(&event.outputs) {
        store::put_node(tx, tenant, &dataset.node, &Value::Object(dataset.facets.clone()), event.at).await?;
    }
    for edge in event.edges() {
        store::put_edge(tx, tenant, &edge, event.run_id, event.at).await?;
    }
    Ok(())
}

/// An event from outside.
pub async fn submit(database: &Database, scope: &Scope, event: &RunEvent) -> Result<(), Error> {
    scope.require(scope::LINEAGE_WRITE)?;
    event.check()?;
    let mut tx = database.begin(scope).await?;
    take(&mut tx, &scope.tenant, event).await?;
    Ok(tx.commit().await?)
}

pub async fn events(
    database: &Database,
    scope: &Scope,
    run: Option<Uuid>,
    page: &PageRequest,
) -> Result<Page<EventRow>, Error> {
    scope.require(scope::LINEAGE_READ)?;
    let (size, before) = (page.size()?, page.after::<i64>()?);
    let mut tx = database.begin(scope).await?;
    let rows = store::events(&mut tx, scope, run, before, size + 1).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |row| row.seq))
}

/// What a node was made of and what was made of it, `depth` steps each way.
pub async fn graph(database: &Database, scope: &Scope, node: &str, depth: u32) -> Result<(Walk, Vec<NodeRow>), Error> {
    scope.require(scope::LINEAGE_READ)?;
    if !(1..=DEEPEST).contains(&depth) {
        return Err(Error::Depth);
    }
    let mut tx = database.begin(scope).await?;
    let mut walk = Walk::from(node);
    if store::nodes(&mut tx, scope, &[node.to_owned()]).await?.is_empty() {
        return Err(Error::NoNode);
    }
    for direction in [Direction::Upstream, Direction::Downstream] {
        let mut level = vec![node.to_owned()];
        for _ in 0..depth {
            let edges = store::edges(&mut tx, scope, &level, direction, LEVEL_EDGES + 1).await?;
            walk.truncated |= edges.len() > LEVEL_EDGES;
            level = walk.step(direction, edges);
            if level.is_empty() {
                break;
            }
        }
    }
    let ids: Vec<String> = walk.nodes.iter().cloned().collect();
    let nodes = store::nodes(&mut tx, scope, &ids).await?;
    tx.commit().await?;
    Ok((walk, nodes))
}
