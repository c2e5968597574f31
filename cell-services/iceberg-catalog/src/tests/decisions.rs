use contracts::TenantId;
use iceberg::spec::{PrimitiveType, Type};
use iceberg::{TableRequirement, TableUpdate};
use lakehouse::{Bucket, TableName};
use object_store::memory::InMemory;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

use crate::domain::{alias, commit, creation, location, view};
use crate::error::Error;

fn updates(list: serde_json::Value) -> Vec<TableUpdate> {
    serde_json::from_value(list).unwrap()
}

#[test]
fn ids_a_client_has_chosen_stay() {
    let schema = json!({ "type": "struct", "schema-id": 3, "fields": [
        { "id": 17, "name": "a", "type": "long", "required": true }, { "id": 4, "name": "b", "type": "string", "required": false }] });
    let spec = json!({ "spec-id": 0, "fields": [{ "source-id": 17, "field-id": 1005, "name": "p", "transform": "bucket[4]" }] });
    let list = updates(json!([
        { "action": "add-schema", "schema": schema }, { "action": "set-current-schema", "schema-id": -1 },
        { "action": "add-spec", "spec": spec }, { "action": "set-default-spec", "spec-id": -1 },
        { "action": "set-location", "location": "s3://warehouse/t/acme/x" },
    ]));
    let change = commit::Change { identifier: None, requirements: vec![TableRequirement::NotExist], updates: list };
    let made = commit::on_new(&change, "s3://warehouse/t/acme/default").unwrap();
    assert_eq!(
        (made.last_column_id(), made.last_partition_id(), made.location()),
        (17, 1005, "s3://warehouse/t/acme/x")
    );
    assert_eq!(made.schemas_iter().len(), 1, "applying the same schema again makes no second one");
    assert_eq!(*made.current_schema().field_by_id(4).unwrap().field_type, Type::Primitive(PrimitiveType::String));
    assert!(matches!(creation::from_updates(&[], "s3://warehouse/t/acme/x"), Err(Error::Invalid(_))));
}

#[test]
fn a_commit_that_changes_nothing_is_none() {
    let request: creation::NewTable = serde_json::from_value(super::new_table("t")).unwrap();
    let table = creation::from_request(request, Uuid::now_v7(), "s3://warehouse/t/acme/x".into()).unwrap();
    let mut change = commit::Change {
        identifier: None,
        requirements: vec![TableRequirement::UuidMatch { uuid: table.uuid() }],
        updates: vec![],
    };
    assert!(commit::on_existing(&table, "s3://warehouse/t/acme/x/0.json", &change).unwrap().is_none());
    change.requirements = vec![TableRequirement::UuidMatch { uuid: Uuid::nil() }];
    assert!(matches!(commit::on_existing(&table, "x", &change), Err(Error::CommitFailed(_))));
    change.requirements = vec![TableRequirement::NotExist];
    assert!(matches!(commit::on_existing(&table, "x", &change), Err(Error::CommitFailed(_))));
}

#[test]
fn a_snapshot_from_the_future_does_not_lock_the_table() {
    let request: creation::NewTable = serde_json::from_value(super::new_table("t")).unwrap();
    let table = creation::from_request(request, Uuid::now_v7(), "s3://warehouse/t/acme/x".into()).unwrap();
    let mut ahead = super::snapshot(1, 1, "s3://warehouse/t/acme/x/snap.avro");
    ahead[0]["snapshot"]["timestamp-ms"] = json!(kit::nature::now_ms() + 3_600_000);
    let change = |list| commit::Change { identifier: None, requirements: vec![], updates: updates(list) };
    let after = commit::on_existing(&table, "s3://warehouse/t/acme/x/0.json", &change(ahead)).unwrap().unwrap();
    assert!(after.current_snapshot().unwrap().timestamp_ms() <= kit::nature::now_ms());
    let property = json!([{ "action": "set-properties", "updates": { "a": "1" } }]);
    commit::on_existing(&after, "s3://warehouse/t/acme/x/1.json", &change(property)).unwrap();
}

#[test]
fn a_new_table_lies_under_its_tenant_whatever_it_is_called() {
    let bucket = Bucket::over(Arc::new(InMemory::new()), "warehouse").tenant(&TenantId::new("acme").unwrap());
    let name = TableName::new(vec!["a b".to_owned(), "ü".to_owned()].try_into().unwrap(), "t:1").unwrap();
    let at = location::of_new_table(&bucket, &name, Uuid::nil());
    assert_eq!(at, "s3://warehouse/t/acme/iceberg/a_b/_/t_1-00000000000000000000000000000000");
    location::check(&bucket, &at).unwrap();
    assert!(location::check(&bucket, "s3://warehouse/t/acme").is_err());
}

#[test]
fn only_the_alias_is_renamed() {
    let mut list = updates(
        json!([{ "action": "remove-snapshot-ref", "ref-name": "master" }, { "action": "remove-snapshot-ref", "ref-name": "masters" }]),
    );
    assert!(alias::master_is_main(&mut [], &mut list));
    assert_eq!(serde_json::to_value(&list).unwrap()[0]["ref-name"], json!("main"));
    assert_eq!(serde_json::to_value(&list).unwrap()[1]["ref-name"], json!("masters"));
    assert!(!alias::master_is_main(&mut [], &mut list));
}

#[test]
fn snapshots_nothing_refers_to_are_left_out() {
    let mut metadata = json!({
        "current-snapshot-id": 3, "refs": { "main": { "snapshot-id": 3, "type": "branch" }, "v1": { "snapshot-id": 1, "type": "tag" } },
        "snapshots": [{ "snapshot-id": 1 }, { "snapshot-id": 2 }, { "snapshot-id": 3 }],
    });
    view::keep_referenced(&mut metadata);
    assert_eq!(metadata["snapshots"], json!([{ "snapshot-id": 1 }, { "snapshot-id": 3 }]));
    assert_eq!(view::Snapshots::parse(None).unwrap(), view::Snapshots::All);
    assert!(view::Snapshots::parse(Some("none")).is_err());
}
