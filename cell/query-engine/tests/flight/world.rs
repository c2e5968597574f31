//! Two tenants' tables in a bucket in memory, behind a Flight SQL server on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::Ticket;
use async_trait::async_trait;
use contracts::{Generation, TenantId};
use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use flight_sql::Client;
use http::HeaderMap;
use iceberg::TableUpdate;
use iceberg::spec::{
    FormatVersion, NestedField, PrimitiveType, SortOrder, TableMetadata, TableMetadataBuilder, Type,
    UnboundPartitionSpec,
};
use kit::seal::Sealer;
use kit::{Actor, Kind, Problem, Scope, Secret};
use lakehouse::snapshot::{self, Extra};
use lakehouse::write::{WriteOptions, write_parquet};
use lakehouse::{Bucket, LoadedTable, TenantBucket};
use object_store::memory::InMemory;
use parking_lot::Mutex;
use query_engine::flight::{Backend, Description, EngineBackend, FlightSqlServer, Messages, Statement, Tickets};
use query_engine::iceberg::IcebergTable;
use query_engine::{Engine, Limits, Pin, Resolved, Result, TableName, TableSource};
use tonic::Status;
use tonic::transport::server::TcpIncoming;

/// Rows of `streams.flights`, in three files that follow each other by `id`.
pub const FLIGHTS: i64 = 30_000;

/// A table's metadata, oldest first.
type Versions = Vec<Arc<TableMetadata>>;

/// A catalog in memory: each table with every version it had.
#[derive(Debug)]
pub struct Tables {
    bucket: Bucket,
    versions: Mutex<HashMap<(TenantId, TableName), Versions>>,
}

impl Tables {
    pub fn new() -> Self {
        Self { bucket: Bucket::over(Arc::new(InMemory::new()), "warehouse"), versions: Mutex::default() }
    }

    fn bucket(&self, tenant: &str) -> (TenantId, TenantBucket) {
        let tenant = TenantId::new(tenant).unwrap();
        let bucket = self.bucket.tenant(&tenant);
        (tenant, bucket)
    }

    pub fn create(&self, tenant: &str, name: &TableName, columns: &Schema) {
        let (tenant, bucket) = self.bucket(tenant);
        let metadata = TableMetadataBuilder::new(
            lakehouse::schema::from_arrow(columns).unwrap(),
            UnboundPartitionSpec::default(),
            SortOrder::unsorted_order(),
            bucket.location(&format!("iceberg/{}/{}", name.namespace, name.table)),
            FormatVersion::V2,
            HashMap::new(),
        );
        let metadata = metadata.unwrap().build().unwrap().metadata;
        self.versions.lock().insert((tenant, name.clone()), vec![Arc::new(metadata)]);
    }

    pub async fn append(&self, tenant: &str, name: &TableName, batch: RecordBatch) {
        let (tenant, bucket) = self.bucket(tenant);
        let table = self.loaded(&tenant, name);
        let rows = futures::stream::iter([Ok::<_, lakehouse::Error>(batch)]);
        let written = write_parquet(&bucket, &table.metadata, rows, &WriteOptions::default()).await.unwrap();
        let commit = snapshot::append(&bucket, &table, written.files, Extra::default()).await.unwrap();
        self.change(&tenant, name, commit.updates);
    }

    /// Renames a column and adds one, as a later schema of the same table.
    pub fn rename(&self, tenant: &str, name: &TableName, from: &str, to: &str, added: &str) {
        let tenant = TenantId::new(tenant).unwrap();
        let current = Arc::clone(self.loaded(&tenant, name).metadata.current_schema());
        let mut fields: Vec<_> = current.as_struct().fields().to_vec();
        for field in &mut fields {
            if field.name == from {
                let mut renamed = NestedField::clone(field);
                renamed.name = to.to_owned();
                *field = Arc::new(renamed);
            }
        }
        let id = current.highest_field_id() + 1;
        fields.push(Arc::new(NestedField::optional(id, added, Type::Primitive(PrimitiveType::Long))));
        let schema = iceberg::spec::Schema::builder().with_schema_id(1).with_fields(fields).build().unwrap();
        let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
        self.change(&tenant, name, updates);
    }

    pub fn snapshots(&self, tenant: &str, name: &TableName) -> Vec<i64> {
        let tenant = TenantId::new(tenant).unwrap();
        self.loaded(&tenant, name).metadata.history().iter().map(|entry| entry.snapshot_id).collect()
    }

    fn loaded(&self, tenant: &TenantId, name: &TableName) -> LoadedTable {
        let all = self.versions.lock();
        let versions = &all[&(tenant.clone(), name.clone())];
        LoadedTable {
            name: name.to_string().parse().unwrap(),
            metadata: Arc::clone(versions.last().unwrap()),
            metadata_location: (versions.len() - 1).to_string(),
            config: HashMap::new(),
        }
    }

    fn change(&self, tenant: &TenantId, name: &TableName, updates: Vec<TableUpdate>) {
        let table = self.loaded(tenant, name);
        let mut builder = TableMetadata::clone(&table.metadata).into_builder(None);
        for update in updates {
            builder = update.apply(builder).unwrap();
        }
        let metadata = Arc::new(builder.build().unwrap().metadata);
        self.versions.lock().get_mut(&(tenant.clone(), name.clone())).unwrap().push(metadata);
    }
}

#[async_trait]
impl TableSource for Tables {
    async fn namespaces(&self, scope: &Scope) -> Result<Vec<String>> {
        let all = self.versions.lock();
        let mut names: Vec<_> = all.keys().filter(|k| k.0 == scope.tenant).map(|k| k.1.namespace.clone()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn tables(&self, scope: &Scope, namespace: &str) -> Result<Vec<String>> {
        let all = self.versions.lock();
        let own = all.keys().filter(|k| k.0 == scope.tenant && k.1.namespace == namespace);
        Ok(own.map(|k| k.1.table.clone()).collect())
    }

    async fn table(&self, scope: &Scope, name: &TableName) -> Result<Option<Resolved>> {
        let (base, at) = name.table.split_once('#').unwrap_or((&name.table, ""));
        let base = TableName::new(&name.namespace, base);
        if !self.versions.lock().contains_key(&(scope.tenant.clone(), base.clone())) {
            return Ok(None);
        }
        let table = self.loaded(&scope.tenant, &base);
        let snapshot_id = at.parse().ok().or(table.metadata.current_snapshot_id());
        let pin = Pin { name: name.clone(), metadata_location: table.metadata_location, snapshot_id };
        self.pinned(scope, &pin).await
    }

    async fn pinned(&self, scope: &Scope, pin: &Pin) -> Result<Option<Resolved>> {
        let base = TableName::new(&pin.name.namespace, pin.name.table.split('#').next().unwrap());
        let version: usize = pin.metadata_location.parse().unwrap();
        let metadata = Arc::clone(&self.versions.lock()[&(scope.tenant.clone(), base)][version]);
        let bucket = self.bucket.tenant(&scope.tenant);
        let table = IcebergTable::open(&scope.tenant, &bucket, &metadata, pin.snapshot_id).await?;
        Ok(Some(Resolved { provider: Arc::new(table), pin: pin.clone(), weight: 1 }))
    }
}

/// Trusts `authorization: Bearer <tenant>/<user>`.
pub struct Door {
    engine: EngineBackend,
}

#[async_trait]
impl Backend for Door {
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Problem> {
        let word = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        let Some((tenant, user)) = word.and_then(|word| word.split_once('/')) else {
            return Err(Problem::new(Kind::Unauthenticated, "token/missing", "no token"));
        };
        Ok(scope(tenant, user))
    }

    fn source(&self) -> &Arc<dyn TableSource> {
        self.engine.0.source()
    }

    async fn describe(&self, scope: &Scope, statement: &Statement) -> Result<Description, Problem> {
        Ok(self.engine.describe(scope, statement).await?)
    }

    async fn run(&self, scope: &Scope, statement: &Statement, _: &Ticket) -> Result<Messages, Status> {
        self.engine.run(scope, statement).await.map_err(|error| Problem::from(error).to_status())
    }
}

pub fn scope(tenant: &str, user: &str) -> Scope {
    let mut scope = Scope::of_service("test", TenantId::new(tenant).unwrap(), Generation(1));
    scope.actor = Actor::User(user.to_owned());
    scope
}

pub struct World {
    pub tables: Arc<Tables>,
    pub address: SocketAddr,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits { statement_seconds: 600, partitions: 2, ..Limits::default() }).await
    }

    pub async fn with(limits: Limits) -> Self {
        let tables = Arc::new(Tables::new());
        fill(&tables).await;
        let engine = Arc::new(Engine::new(Arc::clone(&tables) as _, limits.clone()).unwrap());
        let door = Arc::new(Door { engine: EngineBackend(engine) });
        let tickets = Tickets::new(Sealer::new(&Secret::new("5a".repeat(32))).unwrap());
        let service = FlightSqlServer::new(door, tickets, limits).unwrap().into_service();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
        Self { tables, address }
    }

    pub async fn client(&self, bearer: &str) -> Client {
        let channel = flight_sql::connect(&format!("grpc://{}", self.address), Default::default()).await.unwrap();
        Client::new(channel).with_bearer(bearer).unwrap()
    }
}

pub fn flights() -> TableName {
    TableName::new("streams", "flights")
}

/// `id` runs on, `carrier` is one of four, every third `delay` is null.
pub fn flight_rows(from: i64, count: i64) -> RecordBatch {
    let ids = from..from + count;
    let id: Int64Array = ids.clone().collect();
    let carrier: StringArray = ids.clone().map(|n| Some(["AA", "B6", "DL", "UA"][(n % 4) as usize])).collect();
    let delay: Float64Array = ids.clone().map(|n| (n % 3 != 0).then_some(n as f64 / 10.0)).collect();
    let at: TimestampMicrosecondArray = ids.map(|n| Some(1_357_000_000_000_000 + n * 60_000_000)).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(id), Arc::new(carrier), Arc::new(delay), Arc::new(at.with_timezone("+00:00"))];
    RecordBatch::try_new(Arc::new(flight_columns()), columns).unwrap()
}

fn flight_columns() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("carrier", DataType::Utf8, true),
        Field::new("delay", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
    ])
}

async fn fill(tables: &Tables) {
    tables.create("acme", &flights(), &flight_columns());
    for part in 0..3 {
        tables.append("acme", &flights(), flight_rows(part * FLIGHTS / 3, FLIGHTS / 3)).await;
    }
    let airlines = TableName::new("datasets", "airlines");
    let names =
        Schema::new(vec![Field::new("carrier", DataType::Utf8, true), Field::new("name", DataType::Utf8, true)]);
    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let rows = |carriers: &[&str], titles: &[&str]| {
        RecordBatch::try_new(Arc::new(names.clone()), vec![text(carriers), text(titles)]).unwrap()
    };
    tables.create("acme", &airlines, &names);
    tables.append("acme", &airlines, rows(&["AA", "B6"], &["American", "JetBlue"])).await;
    tables.rename("acme", &airlines, "name", "title", "founded");
    tables.append("acme", &airlines, renamed_rows()).await;
    tables.create("acme", &TableName::new("datasets", "nothing"), &names);
    let secret = TableName::new("datasets", "ledger");
    tables.create("globex", &secret, &names);
    tables.append("globex", &secret, rows(&["x"], &["y"])).await;
}

fn renamed_rows() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("carrier", DataType::Utf8, true),
        Field::new("title", DataType::Utf8, true),
        Field::new("founded", DataType::Int64, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["DL", "UA"])),
        Arc::new(StringArray::from(vec!["Delta", "United"])),
        Arc::new(Int64Array::from(vec![1925, 1926])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}
