//! Flight SQL, call by call.

use std::sync::Arc;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandGetDbSchemas, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandStatementQuery, CommandStatementUpdate, ProstMessageExt,
};
use arrow_flight::{Action, Empty, FlightDescriptor, HandshakeRequest, IpcMessage};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use flight_sql::CancelStatus;
use futures::StreamExt;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::world::{FLIGHTS, World};
use crate::{lines, rows};

async fn raw(world: &World) -> FlightServiceClient<Channel> {
    let channel = flight_sql::connect(&format!("http://{}", world.address), Default::default()).await.unwrap();
    FlightServiceClient::new(channel)
}

fn as_anne<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer acme/anne".parse().unwrap());
    request
}

fn query(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

fn one(name: &str, values: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![Field::new(name, values.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![values]).unwrap()
}

#[tokio::test]
async fn metadata_lists_the_tenants_own_and_filters_by_pattern() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    assert_eq!(lines(&acme.catalogs().await.unwrap()), ["acme"]);
    let all = CommandGetDbSchemas::default();
    assert_eq!(lines(&acme.schemas(all).await.unwrap()), ["acme datasets", "acme streams"]);
    let tables = acme.tables(CommandGetTables::default()).await.unwrap();
    assert_eq!(
        lines(&tables),
        ["acme datasets airlines TABLE", "acme datasets nothing TABLE", "acme streams flights TABLE"]
    );
    let some = CommandGetTables {
        catalog: Some("acme".to_owned()),
        db_schema_filter_pattern: Some("str%".to_owned()),
        table_name_filter_pattern: Some("fli_hts".to_owned()),
        table_types: vec!["TABLE".to_owned()],
        include_schema: true,
    };
    let tables = acme.tables(some).await.unwrap();
    let schema = tables[0].column(4).as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(IpcMessage(schema.into())).unwrap();
    assert_eq!(schema.field(2).data_type(), &DataType::Float64);
    let foreign = CommandGetTables { catalog: Some("globex".to_owned()), ..CommandGetTables::default() };
    assert!(lines(&acme.tables(foreign).await.unwrap()).is_empty());
    assert_eq!(lines(&acme.table_types().await.unwrap()), ["TABLE"]);
}

#[tokio::test]
async fn every_capability_is_stated() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let all = acme.sql_info(Vec::new()).await.unwrap();
    let names: Vec<u32> = all[0].column(0).as_primitive::<UInt32Type>().values().to_vec();
    let expected: Vec<u32> = (0..=11).chain(100..=101).chain(500..=576).collect();
    assert_eq!(names, expected);
    assert_eq!(acme.sql_info(vec![504]).await.unwrap()[0].num_rows(), 1);
    let integers = acme.info(CommandGetXdbcTypeInfo { data_type: Some(4) }).await.unwrap();
    let integers =
        acme.fetch(integers.endpoint[0].ticket.clone().unwrap()).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(integers.num_rows(), 1);
    let keys = acme.primary_keys(Default::default()).await.unwrap();
    assert_eq!(keys.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_prepared_statement_runs_once_per_row_of_parameters() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let prepared = acme.prepare("select id, carrier from flights where id = ? and carrier = ?").await.unwrap();
    let kinds: Vec<_> = prepared.parameter_schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(kinds, [DataType::Int64, DataType::Utf8]);
    assert_eq!(prepared.dataset_schema().fields().len(), 2);
    let schema = Schema::new(vec![Field::new("0", DataType::Int32, true), Field::new("1", DataType::Utf8, true)]);
    let values: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![5, 6, 8])), Arc::new(StringArray::from(vec!["B6", "AA", "AA"]))];
    let values = RecordBatch::try_new(Arc::new(schema), values).unwrap();
    let answer = prepared.execute_with(values).await.unwrap().collect().await.unwrap();
    assert_eq!(lines(&answer), ["5 B6", "8 AA"]);
    let hostile = one("0", Arc::new(StringArray::from(vec!["AA' or '1'='1"])));
    let by_name = acme.prepare("select count(*) from flights where carrier = $1").await.unwrap();
    assert_eq!(lines(&by_name.execute_with(hostile).await.unwrap().collect().await.unwrap()), ["0"]);
    let unbound = by_name.execute().await.err().unwrap();
    assert!(unbound.to_string().contains("not bound"), "{unbound}");
    by_name.close().await.unwrap();
    let limit = acme.prepare("select id from flights order by id desc limit $1").await.unwrap();
    let two = one("0", Arc::new(Int64Array::from(vec![2])));
    assert_eq!(lines(&limit.execute_with(two).await.unwrap().collect().await.unwrap()).len(), 2);
}

#[tokio::test]
async fn one_schema_is_told_everywhere() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let mut raw = raw(&world).await;
    for sql in [
        "select 1 union all select 2.5",
        "select *, carrier || 'x' as label, case when id > 5 then delay end from flights limit 3",
        "select count(*) c, sum(delay) s from flights group by carrier",
        "select arrow_cast('x', 'Dictionary(Int32, Utf8)') d, arrow_cast('y', 'Utf8View') v",
        "explain select 1",
        "select * from nothing",
    ] {
        let told = acme.execute(sql).await.unwrap();
        let schema = Schema::clone(told.schema());
        let asked = raw.get_schema(as_anne(query(sql))).await.unwrap().into_inner();
        assert_eq!(Schema::try_from(&asked).unwrap(), schema, "{sql}");
        assert_eq!(**acme.prepare(sql).await.unwrap().dataset_schema(), schema, "{sql}");
        for batch in told.collect().await.unwrap() {
            assert_eq!(*batch.schema(), schema, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_large_result_streams_completely() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let mut all = acme
        .execute(
            "select a.id, b.id, a.carrier from flights a join flights b on a.id % 100 = b.id % 100 and b.id < 3000",
        )
        .await
        .unwrap();
    let mut seen = 0;
    while let Some(batch) = all.next().await {
        seen += batch.unwrap().num_rows() as i64;
    }
    assert_eq!(seen, FLIGHTS * 30);
}

#[tokio::test]
async fn a_running_statement_is_cancelled() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    let mut endless = acme.execute("select a.id from flights a cross join flights b").await.unwrap();
    assert!(endless.next().await.unwrap().is_ok());
    assert_eq!(acme.cancel(endless.info().clone()).await.unwrap(), CancelStatus::Cancelled);
    let end = loop {
        match endless.next().await {
            Some(Ok(_)) => continue,
            end => break end,
        }
    };
    assert!(end.is_some_and(|end| end.unwrap_err().to_string().contains("cancelled")));
    let info = endless.info().clone();
    drop(endless);
    let again = acme.cancel(info).await.unwrap();
    assert!(matches!(again, CancelStatus::NotCancellable | CancelStatus::Cancelled));
}

#[tokio::test]
async fn polls_renewals_and_handshakes_are_answered() {
    let world = World::start().await;
    let mut raw = raw(&world).await;
    let poll = raw.poll_flight_info(as_anne(query("select 1"))).await.unwrap().into_inner();
    assert!(poll.flight_descriptor.is_none() && poll.progress == Some(1.0));
    let endpoint = poll.info.unwrap().endpoint.remove(0);
    let expires = endpoint.expiration_time.unwrap().seconds;
    let renew = arrow_flight::RenewFlightEndpointRequest { endpoint: Some(endpoint) }.encode_to_vec();
    let action = Action { r#type: "RenewFlightEndpoint".to_owned(), body: renew.into() };
    let answer = raw.do_action(as_anne(action)).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let renewed = arrow_flight::FlightEndpoint::decode(answer.body).unwrap();
    assert!(renewed.expiration_time.unwrap().seconds >= expires);
    assert!(raw.do_get(as_anne(renewed.ticket.unwrap())).await.is_ok());
    let hello = raw.handshake(as_anne(futures::stream::iter([HandshakeRequest::default()]))).await.unwrap();
    assert_eq!(hello.metadata().get("authorization").unwrap(), "Bearer acme/anne");
    let mut actions = raw.list_actions(as_anne(Empty {})).await.unwrap().into_inner();
    let mut names = Vec::new();
    while let Some(action) = actions.message().await.unwrap() {
        names.push(action.r#type);
    }
    assert!(names.contains(&"CancelFlightInfo".to_owned()) && names.len() == 8);
}

#[tokio::test]
async fn an_update_is_refused_and_a_read_run_as_one_changes_nothing() {
    let world = World::start().await;
    let mut raw = raw(&world).await;
    let mut put = async |sql: &str| {
        let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let message = arrow_flight::FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
        raw.do_put(as_anne(futures::stream::iter([message]))).await.map(|_| ())
    };
    let refused = put("delete from airlines").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("DELETE") || refused.message().contains("refused"), "{refused}");
    assert!(put("select 1").await.is_ok());
    let begin = ActionCreatePreparedStatementRequest { query: "select 1".to_owned(), transaction_id: Some("t".into()) };
    let action = Action { r#type: "CreatePreparedStatement".to_owned(), body: begin.as_any().encode_to_vec().into() };
    let mut raw = crate::protocol::raw(&world).await;
    assert!(raw.do_action(as_anne(action)).await.unwrap_err().message().contains("transaction"));
    let begin = Action { r#type: "BeginTransaction".to_owned(), body: Any::default().encode_to_vec().into() };
    assert!(raw.do_action(as_anne(begin)).await.unwrap_err().message().contains("not supported"));
}

/// `map<string, value>` with one entry, where a value's first field is a string.
fn set_option(name: &str, value: &str) -> Vec<u8> {
    let text = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8], bytes].concat();
    let entry = [text(0x0a, name.as_bytes()), text(0x12, &text(0x0a, value.as_bytes()))].concat();
    text(0x0a, &entry)
}

#[tokio::test]
async fn a_session_lives_in_the_clients_cookie() {
    let world = World::start().await;
    let mut raw = raw(&world).await;
    let set = |name: &str, value: &str| Action {
        r#type: "SetSessionOptions".to_owned(),
        body: set_option(name, value).into(),
    };
    let answer = raw.do_action(as_anne(set("schema", "streams"))).await.unwrap();
    let cookie = answer.metadata().get("set-cookie").unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(answer.into_inner().message().await.unwrap().unwrap().body.is_empty());
    let mut metadata = MetadataMap::new();
    metadata.insert("cookie", cookie.parse().unwrap());
    let get = || Action { r#type: "GetSessionOptions".to_owned(), body: Default::default() };
    let mut request = as_anne(get());
    request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    let body = raw.do_action(request).await.unwrap().into_inner().message().await.unwrap().unwrap().body;
    assert!(String::from_utf8_lossy(&body).contains("streams"));
    // Another principal's cookie sets nothing.
    let mut stolen = Request::new(get());
    stolen.metadata_mut().insert("authorization", "Bearer acme/bob".parse().unwrap());
    stolen.metadata_mut().insert("cookie", cookie.parse().unwrap());
    let body = raw.do_action(stolen).await.unwrap().into_inner().message().await.unwrap().unwrap().body;
    assert!(!String::from_utf8_lossy(&body).contains("streams"));
    let refused = raw.do_action(as_anne(set("catalog", "globex"))).await.unwrap();
    assert!(!refused.into_inner().message().await.unwrap().unwrap().body.is_empty());
}

#[tokio::test]
async fn statements_without_tables_need_none() {
    let world = World::start().await;
    let acme = world.client("acme/anne").await;
    assert_eq!(rows(&acme, "select 1 as a, 'x' as b").await.unwrap(), ["1 x"]);
    assert_eq!(rows(&acme, "with t as (values (1), (2)) select sum(column1) from t").await.unwrap(), ["3"]);
    assert_eq!(rows(&acme, "select count(*) from generate_series(1, 1000)").await.unwrap(), ["1000"]);
}
