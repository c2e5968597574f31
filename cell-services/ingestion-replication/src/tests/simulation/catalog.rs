//! The catalog's state and what it does with a commit: Iceberg's requirements and updates, in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use iceberg::{TableRequirement, TableUpdate};
use kit::nature;
use lakehouse::LoadedTable;
use serde::Deserialize;
use serde_json::{Value, json};

const MINUTE_MS: i64 = 60_000;

/// Tenant and name of a table in namespace `streams`.
pub type Key = (String, String);

/// A table, with all that ever was in it.
#[derive(Clone)]
pub struct Entry {
    pub tenant: String,
    pub name: String,
    pub metadata: Arc<TableMetadata>,
    /// All snapshots ever committed, expired ones too, and their manifest lists.
    pub snapshots: Vec<i64>,
    pub lists: Vec<String>,
}

#[derive(Default)]
pub struct Tables {
    pub live: BTreeMap<Key, Entry>,
    pub dropped: Vec<Entry>,
    /// Generation the catalog serves a tenant at.
    pub generations: BTreeMap<String, u64>,
    made: u64,
}

#[derive(Deserialize)]
pub struct Change {
    #[serde(default)]
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

#[derive(Deserialize)]
pub struct Creation {
    pub name: String,
    pub schema: Schema,
    #[serde(default)]
    pub properties: HashMap<String, String>,
}

impl Entry {
    pub fn answer(&self) -> Value {
        json!({ "metadata-location": location(&self.metadata), "metadata": &*self.metadata, "config": {} })
    }

    pub fn loaded(&self) -> LoadedTable {
        LoadedTable {
            name: format!("streams.{}", self.name).parse().unwrap(),
            metadata: Arc::clone(&self.metadata),
            metadata_location: location(&self.metadata),
            config: HashMap::new(),
        }
    }
}

fn location(metadata: &TableMetadata) -> String {
    format!("{}/metadata/now.json", metadata.location())
}

impl Tables {
    pub fn create(&mut self, tenant: &str, creation: Creation) -> Result<Entry, StatusCode> {
        let key = (tenant.to_owned(), creation.name.clone());
        if self.live.contains_key(&key) {
            return Err(StatusCode::CONFLICT);
        }
        self.made += 1;
        let place = format!("s3://warehouse/t/{tenant}/iceberg/streams/{}-{}", creation.name, self.made);
        let made = TableMetadataBuilder::new(
            creation.schema,
            UnboundPartitionSpec::default(),
            SortOrder::unsorted_order(),
            place,
            FormatVersion::V2,
            creation.properties,
        )
        .and_then(|builder| builder.assign_uuid(nature::uuid()).build())
        .map_err(|_| StatusCode::BAD_REQUEST)?;
        let metadata = dated(&made.metadata);
        let entry =
            Entry { tenant: key.0.clone(), name: creation.name, metadata, snapshots: Vec::new(), lists: Vec::new() };
        self.live.insert(key, entry.clone());
        Ok(entry)
    }

    pub fn commit(&mut self, key: &Key, change: Change) -> Result<Entry, StatusCode> {
        let entry = self.live.get_mut(key).ok_or(StatusCode::NOT_FOUND)?;
        let before = &entry.metadata;
        for requirement in &change.requirements {
            requirement.check(Some(before)).map_err(|_| StatusCode::CONFLICT)?;
        }
        let mut builder = TableMetadata::clone(before).into_builder(Some(location(before)));
        let (mut snapshots, mut lists) = (Vec::new(), Vec::new());
        let now = nature::now_ms().max(before.last_updated_ms());
        for update in change.updates.into_iter().map(|update| not_ahead(update, now)) {
            if let TableUpdate::AddSnapshot { snapshot } = &update {
                snapshots.push(snapshot.snapshot_id());
                lists.push(snapshot.manifest_list().to_owned());
            }
            builder = update.apply(builder).map_err(|_| StatusCode::BAD_REQUEST)?;
        }
        let made = builder.build().map_err(|_| StatusCode::BAD_REQUEST)?.metadata;
        entry.metadata = match before.current_snapshot() {
            _ if !lists.is_empty() => Arc::new(made),
            // Iceberg's own rule: no change is dated a minute before the last snapshot.
            Some(last) if last.timestamp_ms() - nature::now_ms() > MINUTE_MS => return Err(StatusCode::BAD_REQUEST),
            _ => dated(&made),
        };
        entry.snapshots.extend(snapshots);
        entry.lists.extend(lists);
        Ok(entry.clone())
    }

    /// Takes the table away; its files stay where they are.
    pub fn drop_table(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.live.remove(key)?;
        self.dropped.push(entry.clone());
        Some(entry)
    }
}

/// As our catalog does it: a snapshot from the future is dated now.
fn not_ahead(update: TableUpdate, now: i64) -> TableUpdate {
    let mut json = serde_json::to_value(&update).unwrap();
    match &update {
        TableUpdate::AddSnapshot { snapshot } if snapshot.timestamp_ms() > now => {
            json["snapshot"]["timestamp-ms"] = now.into();
            serde_json::from_value(json).unwrap()
        }
        _ => update,
    }
}

/// Iceberg's builder dates what adds no snapshot by the machine's clock: here it is the world's.
fn dated(metadata: &TableMetadata) -> Arc<TableMetadata> {
    let mut json = serde_json::to_value(metadata).unwrap();
    json["last-updated-ms"] = json!(nature::now_ms());
    Arc::new(serde_json::from_value(json).unwrap())
}
