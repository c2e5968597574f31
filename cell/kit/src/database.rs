//! A service's own Postgres database: scoped transactions, fenced by generation.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use contracts::services::database_name;
use contracts::{Generation, TenantId};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::fault::{Fault, Kind};
use crate::{Scope, Secret};

/// Beyond this a caller gets 503 instead of waiting in line.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction in which nothing is asked for so long is ended by the server: nobody waits for ever for what one
/// holds whose process has forgotten it. Longer than the longest wait for a bus or another service inside of one.
const FORGOTTEN: &str = "45s";

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    #[error("the database refused the statement")]
    Statement(#[source] sqlx::Error),
    #[error("the tenant's writes are fenced at generation {required}")]
    Fenced { required: Generation },
    #[error("the schema is behind: run the migrations first")]
    SchemaBehind,
    #[error("the migrations failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
    #[error("an event could not be written as JSON")]
    Event(#[source] serde_json::Error),
    #[error("{event} has {bytes} bytes, more than a bus takes")]
    EventTooLarge { event: &'static str, bytes: usize },
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            // 57P0x: the server is going down or starting; class 53: it is out of disk, memory or connections; 25P03: the
            // transaction was forgotten for too long.
            sqlx::Error::Database(e)
                if e.code().is_some_and(|c| c.starts_with("57P") || c.starts_with("53") || c == "25P03") =>
            {
                Self::Unavailable(error)
            }
            _ => Self::Statement(error),
        }
    }
}

impl DatabaseError {
    pub fn is_unique_violation(&self) -> bool {
        self.sql_state().is_some_and(|code| code == "23505")
    }

    /// Five-character SQLSTATE of a refused statement.
    pub fn sql_state(&self) -> Option<String> {
        match self {
            Self::Statement(sqlx::Error::Database(e)) => e.code().map(|c| c.into_owned()),
            _ => None,
        }
    }
}

impl Fault for DatabaseError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Fenced { .. } => Kind::Misdirected,
            _ => Kind::Internal,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "cell/database-unavailable",
            Self::Fenced { .. } => "cell/misdirected",
            _ => "cell/database",
        }
    }
    fn generation_required(&self) -> Option<Generation> {
        match self {
            Self::Fenced { required } => Some(*required),
            _ => None,
        }
    }
}

/// Begins a transaction. A caller that is cancelled while it waits leaves none open: sqlx does not end one whose `begin`
/// it was never told of, and the connection's next user would work inside of it, with nobody to commit. So the
/// beginning has a task of its own, which comes to its end in any case.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Whether the newest migration of this build has been applied.
pub async fn is_current(pool: &PgPool, migrator: &Migrator) -> Result<bool, DatabaseError> {
    let newest = migrator.iter().map(|m| m.version).max().unwrap_or(0);
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(pool).await?;
    if !exists {
        return Ok(false);
    }
    let applied: i64 = sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success")
        .fetch_one(pool)
        .await?;
    Ok(applied >= newest)
}

/// Pool to one service's database, as that service's role.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
}

/// How to reach a service's database.
#[derive(Debug, Clone)]
pub struct DatabaseAddress {
    pub host: IpAddr,
    pub port: u16,
    /// Name of the service; database and role are named after it.
    pub service: String,
    pub password: Secret,
    pub max_connections: u32,
}

impl Database {
    /// Makes the pool; connections are opened when first needed.
    pub fn connect_lazy(address: &DatabaseAddress) -> Self {
        let name = database_name(&address.service);
        let options = PgConnectOptions::new_without_pgpass()
            .host(&address.host.to_string())
            .port(address.port)
            .username(&name)
            .database(&name)
            .password(address.password.expose())
            .application_name(&address.service)
            .ssl_mode(PgSslMode::Prefer)
            .options([("idle_in_transaction_session_timeout", FORGOTTEN)]);
        let pool = PgPoolOptions::new()
            .max_connections(address.max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options);
        Self { pool }
    }

    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs the kit's tables, then the service's migrations.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<(), DatabaseError> {
        sqlx::raw_sql(include_str!("database.sql")).execute(&self.pool).await?;
        migrator.run(&self.pool).await.map_err(DatabaseError::Migration)
    }

    /// Refuses a database whose newest applied migration is older than the newest known.
    pub async fn check_schema(&self, migrator: &Migrator) -> Result<(), DatabaseError> {
        if is_current(&self.pool, migrator).await? { Ok(()) } else { Err(DatabaseError::SchemaBehind) }
    }

    /// Begins the one transaction of a use case: rows of `scope`'s tenant only, and refused with
    /// [`DatabaseError::Fenced`] when the tenant has moved on to a newer generation.
    pub async fn begin(&self, scope: &Scope) -> Result<Tx, DatabaseError> {
        let mut tx = self.begin_as(scope.tenant.as_str()).await?;
        let generation = i64::try_from(scope.generation.0).unwrap_or(i64::MAX);
        let required = match hold_fence(&mut tx, scope.tenant.as_str(), generation).await? {
            Some(held) => held,
            None => raise_fence(&mut tx, scope.tenant.as_str(), generation).await?,
        };
        unless_fenced(tx, required, generation)
    }

    /// Begins a transaction in a tenant whose fence it raises to `generation`; refused if somebody newer was here.
    pub(crate) async fn begin_fenced(&self, tenant: &TenantId, generation: Generation) -> Result<Tx, DatabaseError> {
        let mut tx = self.begin_as(tenant.as_str()).await?;
        let generation = i64::try_from(generation.0).unwrap_or(i64::MAX);
        let required = raise_fence(&mut tx, tenant.as_str(), generation).await?;
        unless_fenced(tx, required, generation)
    }

    /// Begins a transaction that sees the tenant's rows as they are at this moment, and changes nothing.
    pub(crate) async fn begin_moment(&self, tenant: &TenantId) -> Result<Tx, DatabaseError> {
        let mut inner = begin(&self.pool).await?;
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *inner).await?;
        let mut tx = Tx { inner };
        narrow(&mut tx, tenant.as_str()).await?;
        Ok(tx)
    }

    /// Begins a transaction of a job that works over all tenants.
    pub async fn begin_system(&self) -> Result<Tx, DatabaseError> {
        self.begin_as("*").await
    }

    async fn begin_as(&self, tenant: &str) -> Result<Tx, DatabaseError> {
        let mut tx = Tx { inner: begin(&self.pool).await? };
        narrow(&mut tx, tenant).await?;
        Ok(tx)
    }
}

fn unless_fenced(tx: Tx, required: i64, generation: i64) -> Result<Tx, DatabaseError> {
    if required > generation {
        return Err(DatabaseError::Fenced { required: Generation(required.unsigned_abs()) });
    }
    Ok(tx)
}

async fn narrow(tx: &mut Tx, tenant: &str) -> Result<(), DatabaseError> {
    sqlx::query("select set_config('cyto.tenant', $1, true)").bind(tenant).execute(&mut **tx).await?;
    Ok(())
}

/// Where the fence stands, held there to the end of the transaction, if that is at `generation` or
/// above. A lower one is not held: two that hold it and both want to raise it would wait for each other.
async fn hold_fence(tx: &mut Tx, tenant: &str, generation: i64) -> Result<Option<i64>, DatabaseError> {
    let held =
        sqlx::query_scalar("select generation from tenant_fence where tenant_id = $1 and generation >= $2 for share");
    Ok(held.bind(tenant).bind(generation).fetch_optional(&mut **tx).await?)
}

/// Raises the fence and answers where it stands then: higher, if somebody newer came first.
async fn raise_fence(tx: &mut Tx, tenant: &str, generation: i64) -> Result<i64, DatabaseError> {
    let raised = sqlx::query_scalar(
        "insert into tenant_fence (tenant_id, generation) values ($1, $2)
         on conflict (tenant_id) do update set generation = greatest(tenant_fence.generation, excluded.generation)
         returning generation",
    );
    Ok(raised.bind(tenant).bind(generation).fetch_one(&mut **tx).await?)
}

/// One transaction; rolled back when dropped without [`Tx::commit`].
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
}

impl Tx {
    pub async fn commit(self) -> Result<(), DatabaseError> {
        Ok(self.inner.commit().await?)
    }

    pub async fn rollback(self) -> Result<(), DatabaseError> {
        Ok(self.inner.rollback().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
