//! Statements, tickets and handles as anybody may send them: answered or refused, and the server goes on.

use flight_sql::{Error, Ticket};
use futures::TryStreamExt;
use testkit::hostile;
use tonic::Code;

use crate::rows;
use crate::world::World;

/// Nothing of a caller's making is the server's fault.
fn is_the_callers(error: &Error) -> bool {
    let status = error.status().map(|status| status.code());
    matches!(
        status,
        Some(
            Code::InvalidArgument
                | Code::NotFound
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Unimplemented
        )
    )
}

#[tokio::test]
async fn spoilt_statements_are_answered_or_refused() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let good: [&[u8]; 5] = [
        b"select code, count(*) from datasets.airlines where code like 'A%' group by code having count(*) > 0 order by 1",
        b"with x as (select id, delay from streams.flights limit 10) select x.id, a.title from x cross join airlines a",
        b"select cast('2013-01-01' as date) + interval '1' month, 1.5e3, \"id\" from streams.flights where id between 1 and 5",
        b"select row_number() over (partition by code order by title) from airlines union all select 1",
        b"explain select case when 1 = 1 then null else array[1,2] end",
    ];
    for bytes in hostile(&good, 500) {
        let sql = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(error) = rows(&acme, &sql).await {
            assert!(is_the_callers(&error), "{sql:?}: {error:?}");
        }
    }
    assert_eq!(rows(&acme, "select count(*) from airlines").await.unwrap(), ["4"]);
}

#[tokio::test]
async fn spoilt_tickets_are_refused() {
    use arrow_flight::sql::CommandStatementQuery;
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let query = CommandStatementQuery { query: "select * from airlines".to_owned(), transaction_id: None };
    let info = acme.info(query).await.unwrap();
    let good = info.endpoint[0].ticket.clone().unwrap().ticket;
    for bytes in hostile(&[&good], 500) {
        if bytes == good {
            continue;
        }
        let outcome = match acme.fetch(Ticket::new(bytes.clone())).await {
            Ok(batches) => batches.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) => assert!(is_the_callers(&error), "{error:?}"),
            // What stands behind a message's end, or in a field nobody knows, is no part of it.
            Ok(batches) => assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 4),
        }
    }
}
