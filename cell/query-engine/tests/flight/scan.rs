//! What is read, and what need not be.

use query_engine::{FlightSqlTable, TableName};

use crate::rows;
use crate::world::{FLIGHTS, World, flight_rows, flights};

#[tokio::test]
async fn counts_and_bounds_are_answered_without_reading_a_file() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let sql = "select count(*), count(delay), min(id), max(id), max(at) from flights";
    let plan = rows(&acme, &format!("explain {sql}")).await.unwrap().join("\n");
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    let answer = rows(&acme, sql).await.unwrap();
    assert_eq!(answer, [format!("{FLIGHTS} {} 0 {} 2013-01-21T20:25:40Z", FLIGHTS / 3 * 2, FLIGHTS - 1)]);
}

#[tokio::test]
async fn a_point_lookup_opens_one_file_and_filters_inside_the_reader() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let sql = "select id, carrier from streams.flights where id = 12345";
    let plan = rows(&acme, &format!("explain {sql}")).await.unwrap().join("\n");
    assert!(plan.contains("file_groups={1 group") && !plan.contains("FilterExec"), "{plan}");
    assert_eq!(rows(&acme, sql).await.unwrap(), ["12345 B6"]);
    assert_eq!(rows(&acme, "select count(*) from flights where id > 90000000").await.unwrap(), ["0"]);
}

#[tokio::test]
async fn strings_are_pruned_by_bounds_and_compared_by_value() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let answer =
        rows(&acme, "select carrier, count(*), avg(delay) from flights where carrier > 'B' group by 1 order by 1");
    let answer = answer.await.unwrap();
    assert_eq!(answer.len(), 3);
    assert!(answer[0].starts_with("B6 7500 "), "{answer:?}");
    assert_eq!(rows(&acme, "select max(carrier), min(carrier) from flights").await.unwrap(), ["UA AA"]);
}

#[tokio::test]
async fn unqualified_names_are_found_in_both_namespaces_and_joined() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let sql = "select a.title, count(*) n from flights f join airlines a using (carrier) group by 1 order by 1";
    let expected = ["American 7500", "Delta 7500", "JetBlue 7500", "United 7500"];
    assert_eq!(rows(&acme, sql).await.unwrap(), expected);
    assert_eq!(rows(&acme, "select count(*) from acme.datasets.airlines").await.unwrap(), ["4"]);
}

#[tokio::test]
async fn a_renamed_column_is_found_in_older_files_by_its_id() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let sql = "select carrier, title, coalesce(founded, 0) from airlines where title <> 'Delta' order by 1";
    assert_eq!(rows(&acme, sql).await.unwrap(), ["AA American 0", "B6 JetBlue 0", "UA United 1926"]);
    assert_eq!(rows(&acme, "select title from airlines where title = 'JetBlue'").await.unwrap(), ["JetBlue"]);
}

#[tokio::test]
async fn a_table_without_rows_answers_with_none() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    assert_eq!(rows(&acme, "select count(*) from nothing").await.unwrap(), ["0"]);
    let all = acme.execute("select * from nothing").await.unwrap();
    assert_eq!(all.schema().fields().len(), 2);
    assert_eq!(all.collect().await.unwrap().iter().map(|b| b.num_rows()).sum::<usize>(), 0);
}

#[tokio::test]
async fn an_older_snapshot_is_read_by_its_id() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let first = world.tables.snapshots("acme", &flights())[0];
    let sql = format!("select count(*), max(id) from streams.\"flights#{first}\"");
    assert_eq!(rows(&acme, &sql).await.unwrap(), ["10000 9999"]);
}

#[tokio::test]
async fn a_ticket_reads_what_was_there_when_it_was_issued() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let before = acme.execute("select count(*) from flights where delay is null or delay >= 0").await.unwrap();
    world.tables.append("acme", &flights(), flight_rows(FLIGHTS, 7)).await;
    let before = crate::lines(&before.collect().await.unwrap());
    assert_eq!(before, [FLIGHTS.to_string()]);
    assert_eq!(rows(&acme, "select count(*) from flights").await.unwrap(), [(FLIGHTS + 7).to_string()]);
}

#[tokio::test]
async fn a_peers_table_takes_filters_and_limits_along() {
    use datafusion::prelude::SessionContext;
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let remote = FlightSqlTable::open(acme, TableName::new("streams", "flights")).await.unwrap();
    let context = SessionContext::new();
    context.register_table("peer", std::sync::Arc::new(remote)).unwrap();
    let sql = "select id from peer where carrier in ('AA', 'UA') and id between 100 and 107 order by id";
    let answer = context.sql(sql).await.unwrap().collect().await.unwrap();
    assert_eq!(crate::lines(&answer), ["100", "103", "104", "107"]);
    let count = context.sql("select count(*) from peer where delay is null").await.unwrap().collect().await.unwrap();
    assert_eq!(crate::lines(&count), [(FLIGHTS / 3).to_string()]);
    let few = context.sql("select id from peer limit 3").await.unwrap().collect().await.unwrap();
    assert_eq!(crate::lines(&few).len(), 3);
}
