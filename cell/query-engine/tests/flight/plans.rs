//! Plans are kept between statements, and none of them answers another question.

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use query_engine::TableName;

use crate::rows;
use crate::world::{FLIGHTS, World, flight_rows, flights};

#[tokio::test]
async fn the_same_text_reads_what_was_committed_since() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for more in 0..3 {
        let counted = rows(&acme, "select count(*) from flights where id >= 0").await.unwrap();
        assert_eq!(counted, [(FLIGHTS + more).to_string()]);
        world.tables.append("acme", &flights(), flight_rows(FLIGHTS + more, 1)).await;
    }
    let airlines = TableName::new("datasets", "airlines");
    let sql = "select founded from airlines where carrier = 'UA'";
    assert_eq!(rows(&acme, sql).await.unwrap(), ["1926"]);
    world.tables.rename("acme", &airlines, "founded", "since", "closed");
    assert!(rows(&acme, sql).await.is_err());
}

#[tokio::test]
async fn the_same_text_over_the_same_state_reads_each_tenants_own_table() {
    let world = World::start().await;
    let nothing = TableName::new("datasets", "nothing");
    world.tables.create("globex", &nothing, &Schema::new(vec![Field::new("secret", DataType::Int64, true)]));
    let columns = async |bearer: &str| {
        let stream = world.client(bearer).await.execute("select * from nothing").await.unwrap();
        let names = stream.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        stream.collect().await.unwrap();
        names
    };
    for _ in 0..2 {
        assert_eq!(columns("acme/anne").await, ["carrier", "name"]);
        assert_eq!(columns("globex/gus").await, ["secret"]);
    }
}

#[tokio::test]
async fn clocks_and_chance_go_on() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    for sql in [
        "select now()",
        "select random()",
        "select (select max(uuid()) from flights)",
        "select now() from nothing right join (select 1) on true",
    ] {
        let answer = async || rows(&acme, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let (first, second) = (answer().await, answer().await);
        assert!(!first.is_empty() && first != second, "{sql}: {first:?} twice");
    }
}

#[tokio::test]
async fn lists_of_tables_are_not_kept() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let sql = "select count(*) from information_schema.tables where table_schema = 'datasets'";
    assert_eq!(rows(&acme, sql).await.unwrap(), ["2"]);
    world.tables.create("acme", &TableName::new("datasets", "more"), &Schema::empty());
    assert_eq!(rows(&acme, sql).await.unwrap(), ["3"]);
}
