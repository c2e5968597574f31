//! Eight dependencies, seven faults.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use testkit::{Arrangement, Case, within};

use crate::fault::{Dependency, Fault, inflict};
use crate::load::Load;
use crate::verdict::{PATIENCE, exactly_once, no_stuck_transaction, recovered};
use crate::world::{Outcome, SHARED, World};

/// Calls that must have ended under the fault before it is mended, or this time.
const CALLS: u64 = 40;
const AT_MOST: Duration = Duration::from_secs(8);

macro_rules! matrix {
    ($($name:literal: $on:ident { $($fault:literal: $kind:ident),* $(,)? })*) => {
        vec![$($(Case {
            name: concat!($name, "::", $fault),
            run: |world| Box::pin(hold(world, Dependency::$on, Fault::$kind)),
        }),*),*]
    };
}

pub fn cases() -> Vec<Case<World>> {
    matrix! {
        "postgres": Postgres { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "nats": Nats { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "kafka": Kafka { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "bucket": Bucket { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "catalog": Catalog { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "cold": Cold }
        "global": Global { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "router": Router { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
        "cell": Cell { "kill": Kill, "stop": Stop, "slow": Slow, "refused": Refused, "reset": Reset, "full": Full, "cold": Cold }
    }
}

/// Breaks and mends under load, then looks.
async fn hold(world: Arc<World>, on: Dependency, fault: Fault) -> anyhow::Result<()> {
    world.site.arrange(SHARED, Arrangement::Apart).await?;
    world.renew().await?;
    let (here, there) = tokio::try_join!(Load::start(&world.here), Load::start(&world.there))?;
    let before = here.record.lock().failures.len();
    ensure!(before == 0, "calls failed before anything broke: {:?}", here.record.lock().failures);
    let broken = inflict(&world, on, fault).await.with_context(|| format!("{on:?} cannot be broken by {fault:?}"))?;
    let calls = here.record.lock().calls;
    // Whatever hangs until it is mended makes no calls: then the time decides.
    let enough = within(AT_MOST, "calls under the fault", || async {
        let made = here.record.lock().calls - calls;
        ensure!(made >= CALLS, "{made} calls");
        Ok(())
    });
    let _ = enough.await;
    broken.mend(&world).await?;
    let (recovery, probes) = recovered(&here.tenant, &here.stream, &here.table).await?;
    let (tenant, _, table, mut record) = here.stop().await?;
    record.accepted.extend(&probes.accepted);
    record.doubtful.extend(&probes.doubtful);
    let rows = exactly_once(&tenant, &table, &record).await?;
    let (neighbour, _, table, other) = there.stop().await?;
    exactly_once(&neighbour, &table, &other).await.context("in the other cell")?;
    no_stuck_transaction(&world).await?;
    let outcome = Outcome {
        on,
        fault,
        recovery,
        rows,
        calls: record.calls,
        failed: record.failures.len(),
        slowest: record.slowest,
        other: other.failures.len(),
    };
    world.note(outcome);
    // Both cells stand behind one router here.
    ensure!(on == Dependency::Router || other.failures.is_empty(), "the other cell failed: {:?}", &other.failures[..1]);
    ensure!(record.slowest < PATIENCE, "a call took {:?}", record.slowest);
    // Through a router that is gone or that is cut off in the middle nobody is told anything.
    let unclear = |failure: &&String| failure.contains("no clear answer");
    let unclear: Vec<&String> = record.failures.iter().filter(unclear).collect();
    ensure!(
        on == Dependency::Router || unclear.is_empty(),
        "{} failures were not clear: {}",
        unclear.len(),
        unclear[0]
    );
    Ok(())
}
