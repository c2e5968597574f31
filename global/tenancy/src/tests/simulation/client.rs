//! Clients: each writes and reads in one tenant, one request after the other, through any router.

use std::sync::Arc;
use std::time::Duration;

use contracts::TenantId;

use super::cell::Answer;
use super::plane::is_over;
use super::router::{Question, Reply};
use super::wire::ask;
use super::world::{Outcome, ROUTERS, Seen, World};

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two requests, milliseconds.
const REST: u64 = 40;

pub async fn live(world: Arc<World>, tenant: TenantId) -> turmoil::Result {
    while !is_over(&world) {
        let op = (!world.one_in(3)).then(|| world.next_op());
        let (from, host) = (world.now_ms(), world.one_of(&ROUTERS));
        let reply = ask::<Reply>(host, &Question { tenant: tenant.clone(), op }, PATIENCE).await;
        let outcome = match (op, &reply) {
            (_, Ok(Reply::Moving)) => Outcome::TurnedAway,
            (Some(op), Ok(Reply::Of(Answer::Stored))) => Outcome::Stored(op),
            (Some(_), _) => Outcome::NotStored,
            (None, Ok(Reply::Of(Answer::Rows(rows)))) => Outcome::Read(rows.clone()),
            (None, _) => Outcome::NotRead,
        };
        let to = world.now_ms();
        if let Some(op) = op {
            world.note(format_args!("{tenant}: {op} through {host} since {from}: {reply:?}"));
        }
        world.seen.lock().push(Seen { tenant: tenant.clone(), from, to, outcome });
        world.takes(REST).await;
    }
    Ok(())
}
