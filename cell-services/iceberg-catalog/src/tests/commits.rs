use futures::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use testkit::scope;

use super::{new_table, rig, snapshot};

const TABLE: &str = "/acme/namespaces/ns/tables/t";
const LIST: &str = "s3://warehouse/t/acme/iceberg/ns/t/metadata/snap.avro";

fn property(name: &str) -> Value {
    json!({ "action": "set-properties", "updates": { name: "1" } })
}

#[tokio::test]
async fn of_sixteen_writers_on_one_parent_one_wins() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let commits = (1..=16).map(|id| {
        let body = json!({ "requirements": [{ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null }], "updates": snapshot(id, 1, LIST) });
        rig.post(&acme, TABLE, body)
    });
    let answers = join_all(commits).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK || answer.error() == "CommitFailedException"));
    let now = rig.get(&acme, TABLE).await?;
    assert_eq!(now.body["metadata"], won[0].body["metadata"]);
    assert_eq!(now.body["metadata"]["snapshots"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn writers_that_do_not_contradict_each_other_all_win() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let commits = (0..6).map(|n| rig.post(&acme, TABLE, json!({ "updates": [property(&format!("w{n}"))] })));
    let answers = join_all(commits).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    // A commit that loses is prepared again: at worst it loses once to each of the others.
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
    let now = rig.get(&acme, TABLE).await?;
    assert_eq!(
        now.body["metadata"]["properties"].as_object().map(serde_json::Map::len),
        Some(answers.len()),
        "an accepted commit is never lost"
    );
    Ok(())
}

#[tokio::test]
async fn what_services_note_on_a_table_is_theirs() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let sink = kit::Scope { actor: kit::Actor::Service("sink".to_owned()), ..acme.clone() };
    let set = json!({ "updates": [property("cytoplane.sink.offsets")] });
    let remove = json!({ "updates": [{ "action": "remove-properties", "removals": ["cytoplane.sink.offsets"] }] });
    assert_eq!(rig.post(&sink, TABLE, set.clone()).await?.status, StatusCode::OK);
    for change in [set, remove] {
        let refused = rig.post(&acme, TABLE, change).await?;
        assert_eq!(refused.error(), "UnprocessableEntityException");
    }
    let mut made = new_table("u");
    made["properties"] = json!({ "cytoplane.stream": "mine" });
    let refused = rig.post(&acme, "/acme/namespaces/ns/tables", made).await?;
    assert_eq!(refused.error(), "UnprocessableEntityException");
    let now = rig.get(&acme, TABLE).await?;
    assert!(now.body["metadata"]["properties"].get("cytoplane.sink.offsets").is_some());
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    rig.post(&acme, "/acme/namespaces/ns/tables", new_table("u")).await?;
    let change = |name: &str, requirement: Option<Value>| json!({ "identifier": { "namespace": ["ns"], "name": name }, "requirements": requirement.into_iter().collect::<Vec<_>>(), "updates": [property("done")] });
    let unmet = json!({ "type": "assert-current-schema-id", "current-schema-id": 9 });
    let refused = rig
        .post(
            &acme,
            "/acme/transactions/commit",
            json!({ "table-changes": [change("t", None), change("u", Some(unmet))] }),
        )
        .await?;
    assert_eq!(refused.error(), "CommitFailedException");
    let done = |body: &Value| body.pointer("/metadata/properties/done").is_some();
    assert!(!done(&rig.get(&acme, TABLE).await?.body));
    let missing = rig
        .post(&acme, "/acme/transactions/commit", json!({ "table-changes": [change("t", None), change("none", None)] }))
        .await?;
    assert_eq!(missing.error(), "NoSuchTableException");
    let twice = rig
        .post(&acme, "/acme/transactions/commit", json!({ "table-changes": [change("t", None), change("t", None)] }))
        .await?;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    let accepted = rig
        .post(&acme, "/acme/transactions/commit", json!({ "table-changes": [change("u", None), change("t", None)] }))
        .await?;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT);
    assert!(
        done(&rig.get(&acme, TABLE).await?.body) && done(&rig.get(&acme, "/acme/namespaces/ns/tables/u").await?.body)
    );
    Ok(())
}

#[tokio::test]
async fn twins_under_one_key_are_executed_once() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["ns"] })).await?;
    let key = [("idempotency-key", "01a207c5-39be-7106-8e96-92c11c9bc5ff")];
    let twins = (0..6).map(|_| rig.send(&acme, "POST", "/acme/namespaces/ns/tables", Some(new_table("t")), &key));
    let answers = join_all(twins).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    assert!(
        answers.iter().all(|answer| answer.status == StatusCode::OK && answer.text == answers[0].text),
        "{answers:?}"
    );
    let other = rig.send(&acme, "POST", "/acme/namespaces/ns/tables", Some(new_table("u")), &key).await?;
    assert_eq!(other.error(), "UnprocessableEntityException");
    let key = [("idempotency-key", "second")];
    let body = json!({ "requirements": [{ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null }], "updates": snapshot(7, 1, LIST) });
    let first = rig.send(&acme, "POST", TABLE, Some(body.clone()), &key).await?;
    let again = rig.send(&acme, "POST", TABLE, Some(body), &key).await?;
    assert_eq!((first.status, first.text), (again.status, again.text));
    Ok(())
}

#[tokio::test]
async fn a_staged_creation_keeps_the_clients_ids() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.post(&acme, "/acme/namespaces", json!({ "namespace": ["ns"] })).await?;
    let mut request = new_table("t");
    request["stage-create"] = json!(true);
    let staged = rig.post(&acme, "/acme/namespaces/ns/tables", request).await?;
    assert_eq!(staged.status, StatusCode::OK);
    assert!(staged.body.get("metadata-location").is_none());
    assert_eq!(rig.get(&acme, TABLE).await?.error(), "NoSuchTableException", "nothing is stored yet");
    let metadata = &staged.body["metadata"];
    let mut updates = vec![
        json!({ "action": "assign-uuid", "uuid": metadata["table-uuid"] }),
        json!({ "action": "upgrade-format-version", "format-version": 2 }),
        json!({ "action": "add-schema", "schema": metadata["schemas"][0] }),
        json!({ "action": "set-current-schema", "schema-id": -1 }),
        json!({ "action": "add-spec", "spec": { "spec-id": 0, "fields": [] } }),
        json!({ "action": "set-default-spec", "spec-id": -1 }),
        json!({ "action": "add-sort-order", "sort-order": { "order-id": 0, "fields": [] } }),
        json!({ "action": "set-default-sort-order", "sort-order-id": -1 }),
        json!({ "action": "set-location", "location": metadata["location"] }),
        property("p"),
    ];
    updates.extend(snapshot(5, 1, LIST).as_array().cloned().unwrap_or_default());
    let body = json!({ "requirements": [{ "type": "assert-create" }], "updates": updates });
    let made = rig.post(&acme, TABLE, body.clone()).await?;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    assert_eq!(
        (&made.body["metadata"]["table-uuid"], &made.body["metadata"]["schemas"]),
        (&metadata["table-uuid"], &metadata["schemas"])
    );
    assert_eq!(made.body["metadata"]["current-snapshot-id"], json!(5));
    assert_eq!(rig.post(&acme, TABLE, body).await?.error(), "CommitFailedException");
    Ok(())
}

#[tokio::test]
async fn master_is_taken_as_main() -> anyhow::Result<()> {
    let (rig, acme) = (rig().await?, scope("acme")?);
    rig.with_table(&acme, "t").await?;
    let mut updates = snapshot(5, 1, LIST);
    updates[1]["ref-name"] = json!("master");
    let answer = rig.post(&acme, TABLE, json!({ "updates": updates })).await?;
    assert_eq!(answer.headers["branch-alias"], "master=main");
    assert_eq!(answer.body["metadata"]["refs"]["main"]["snapshot-id"], json!(5));
    assert!(answer.body["metadata"]["refs"].get("master").is_none());
    Ok(())
}
