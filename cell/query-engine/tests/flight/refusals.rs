//! What is refused, and how.

use flight_sql::{Error, Ticket};
use futures::StreamExt;
use query_engine::Limits;
use tonic::Code;

use crate::rows;
use crate::world::World;

fn code(error: &Error) -> Code {
    error.status().map_or(Code::Unknown, tonic::Status::code)
}

#[tokio::test]
async fn a_statement_that_changes_something_is_refused_wherever_it_hides() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for sql in [
        "create table t as select 1",
        "create view v as select 1",
        "create external table t stored as csv location '/etc/passwd'",
        "drop table datasets.airlines",
        "insert into datasets.airlines values ('x', 'y', 1)",
        "/* select */ insert into airlines select * from airlines",
        "explain insert into airlines select * from airlines",
        "explain analyze insert into airlines select * from airlines",
        "delete from airlines where true",
        "update airlines set title = 'x'",
        "copy (select 1) to '/tmp/x.csv'",
        "copy airlines to '/tmp/x.parquet'",
        "set datafusion.execution.batch_size = 1",
        "prepare p as select 1",
        "show all",
        "select * from information_schema.df_settings",
        "begin",
        "commit",
    ] {
        let error = rows(&acme, sql).await.expect_err(sql);
        assert_eq!(code(&error), Code::InvalidArgument, "{sql}: {error}");
    }
    let two = rows(&acme, "select 1; drop table airlines").await.unwrap_err();
    assert!(two.to_string().contains("one statement"), "{two}");
    assert_eq!(rows(&acme, "select count(*) from airlines").await.unwrap(), ["4"]);
}

#[tokio::test]
async fn the_machines_files_are_no_tables() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for sql in
        ["select * from '/etc/passwd'", "select * from \"file:///etc/passwd\"", "select * from read_csv('/etc/passwd')"]
    {
        assert!(rows(&acme, sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn another_tenants_table_does_not_exist() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for sql in [
        "select * from globex.datasets.ledger",
        "select * from datasets.ledger",
        "select * from ledger",
        "select * from globex.information_schema.tables",
    ] {
        let error = rows(&acme, sql).await.expect_err(sql);
        assert_eq!(code(&error), Code::NotFound, "{sql}: {error}");
    }
    let listed = rows(
        &acme,
        "select table_schema, table_name from information_schema.tables where table_schema <> 'information_schema' order by 1, 2",
    );
    assert_eq!(listed.await.unwrap(), ["datasets airlines", "datasets nothing", "streams flights"]);
    assert!(rows(&acme, "show tables").await.unwrap().iter().all(|row| row.starts_with("acme ")));
    let globex = world.client("globex/gwen").await;
    assert_eq!(rows(&globex, "select * from ledger").await.unwrap(), ["x y"]);
}

#[tokio::test]
async fn a_ticket_is_of_no_use_to_anybody_else() {
    let world = World::start().await;
    let anne = world.client("acme/anne").await;
    let info = anne.execute("select count(*) from flights").await.unwrap().info().clone();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    for stranger in ["acme/bob", "globex/anne"] {
        let stranger = world.client(stranger).await;
        let refused = stranger.fetch_raw(ticket.clone()).await.unwrap_err();
        assert_eq!(code(&refused), Code::NotFound);
        assert_eq!(code(&stranger.cancel(info.clone()).await.unwrap_err()), Code::NotFound);
    }
    // As often as its owner likes.
    for _ in 0..2 {
        assert!(anne.fetch(ticket.clone()).await.unwrap().next().await.is_some_and(|batch| batch.is_ok()));
    }
    let mut forged = ticket.ticket.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(code(&anne.fetch_raw(Ticket { ticket: forged.into() }).await.unwrap_err()), Code::NotFound);
    assert_eq!(code(&anne.fetch_raw(Ticket { ticket: "x".into() }).await.unwrap_err()), Code::NotFound);
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let world = World::start().await;
    let channel = flight_sql::connect(&format!("http://{}", world.address), Default::default()).await.unwrap();
    let nobody = flight_sql::Client::new(channel);
    assert_eq!(code(&rows(&nobody, "select 1").await.unwrap_err()), Code::Unauthenticated);
    assert_eq!(code(&nobody.catalogs().await.unwrap_err()), Code::Unauthenticated);
}

#[tokio::test]
async fn mistakes_are_named_as_their_author_wrote_them() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for (sql, status, words) in [
        ("select * from fligths", Code::NotFound, "table fligths does not exist"),
        ("select * from streams.fligths", Code::NotFound, "table streams.fligths does not exist"),
        ("select dealy from flights", Code::InvalidArgument, "dealy"),
        ("selct 1", Code::InvalidArgument, "selct"),
        ("select 1 / 0", Code::InvalidArgument, "ivide by zero"),
        ("select id / (id - id) from flights", Code::InvalidArgument, "ivide by zero"),
        ("select cast(carrier as int) from flights", Code::InvalidArgument, "AA"),
        ("", Code::InvalidArgument, "No SQL statements"),
    ] {
        let error = rows(&acme, sql).await.expect_err(sql);
        assert_eq!(code(&error), status, "{sql}: {error}");
        assert!(error.to_string().contains(words), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_statement_beyond_its_limits_fails_and_says_so() {
    let limits = Limits { statement_seconds: 600, partitions: 2, statement_text: 500, ..Limits::default() };
    let small = Limits { statement_memory: 4 << 20, ..limits.clone() };
    let world = World::with(small).await;
    let acme = world.client("acme/anne").await;
    let long = rows(&acme, &format!("select '{}'", "x".repeat(500))).await.unwrap_err();
    assert_eq!(code(&long), Code::ResourceExhausted);
    let wide = "select count(distinct a.id * 100000 + b.id) from flights a cross join (select id from flights where id < 200) b";
    let memory = rows(&acme, wide).await.unwrap_err();
    assert_eq!(code(&memory), Code::ResourceExhausted, "{memory}");
    assert_eq!(rows(&acme, "select count(*) from flights").await.unwrap().len(), 1);
    let hasty = World::with(Limits { statement_seconds: 1, ..limits }).await;
    let acme = hasty.client("acme/anne").await;
    let slow = "select sum(a.id * b.id % 7) from flights a cross join flights b cross join (select id from flights where id < 100) c";
    let time = rows(&acme, slow).await.unwrap_err();
    assert_eq!(code(&time), Code::DeadlineExceeded, "{time}");
}
