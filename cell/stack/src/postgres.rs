//! A Postgres cluster: one database and one role per service, passwords by SCRAM, no sockets but the
//! one address it is given.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kit::Secret;
use nix::sys::signal::Signal;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::addresses::POSTGRES_PORT;
use crate::driver::{Change, Driver, file_change};
use crate::error::{At, Error, Result};
use crate::files::{private_dir, remove_tree, write_private};
use crate::parts::Tree;
use crate::process::{Probe, Spec, Supervisor, Unprivileged, end_workers_in, rank, root_cause, run};
use crate::secrets::Secrets;

const BIN: &str = "usr/lib/postgresql/18/bin";
/// The cluster's superuser; its password is the secret `admin.postgres`.
pub const ADMIN: &str = "postgres";
const READY: Duration = Duration::from_secs(60);

/// A cluster as it should be.
#[derive(Debug, Clone)]
pub struct Postgres {
    name: String,
    dir: PathBuf,
    address: SocketAddr,
    /// Names of databases; the owner of each is a role of the same name.
    databases: Vec<Database>,
    max_connections: u16,
    secrets: Secrets,
    tree: Tree,
}

/// A database and the secret that holds its owner's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    pub secret: String,
}

impl Database {
    /// The database of a service: `-` becomes `_`, the secret is `<service>.postgres`.
    pub fn of_service(service: &str) -> Self {
        Self { name: contracts::services::database_name(service), secret: format!("{service}.postgres") }
    }
}

impl Postgres {
    pub fn new(
        owner: &str,
        dir: &Path,
        address: IpAddr,
        databases: Vec<Database>,
        secrets: Secrets,
        tree: Tree,
    ) -> Self {
        Self {
            name: format!("{owner}.postgres"),
            dir: dir.to_owned(),
            address: SocketAddr::new(address, POSTGRES_PORT),
            databases,
            max_connections: 200,
            secrets,
            tree,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn admin_password(&self) -> Result<Secret> {
        self.secrets.get_or_make("admin.postgres")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The whole of postgresql.conf: what is not here is the server's default.
    fn configuration(&self) -> String {
        let (address, port, connections) = (self.address.ip(), self.address.port(), self.max_connections);
        format!(
            "# Written by cyto; changed at every start.\n\
             listen_addresses = '{address}'\nport = {port}\nunix_socket_directories = ''\n\
             max_connections = {connections}\npassword_encryption = 'scram-sha-256'\n\
             shared_buffers = 32MB\nio_method = sync\njit = off\nmax_parallel_workers_per_gather = 0\nhuge_pages = off\n\
             max_wal_size = 512MB\nmin_wal_size = 64MB\nwal_level = logical\n\
             autovacuum_max_workers = 2\nautovacuum_naptime = 30s\n\
             timezone = 'UTC'\nlog_timezone = 'UTC'\nlc_messages = 'C.UTF-8'\n\
             log_min_messages = warning\nlog_line_prefix = '%m [%p] %u@%d '\n\
             idle_in_transaction_session_timeout = 5min\n"
        )
    }

    fn access(&self) -> String {
        "# Written by cyto. Only passwords, only from this machine.\nhost all all 127.0.0.0/8 scram-sha-256\n"
            .to_owned()
    }

    fn files(&self) -> [(PathBuf, String); 2] {
        [(self.data().join("postgresql.conf"), self.configuration()), (self.data().join("pg_hba.conf"), self.access())]
    }

    async fn initialise(&self) -> Result<()> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        private_dir(&self.dir)?;
        Unprivileged::of_this_machine().own(&self.dir)?;
        let fresh = self.dir.join("data.new");
        remove_tree(&fresh)?;
        let password = self.dir.join("initial-password");
        write_private(&password, self.admin_password()?.expose().as_bytes())?;
        Unprivileged::of_this_machine().own(&password)?;
        let mut command = self.tree.command(&format!("{BIN}/initdb"), true);
        command.arg("-D").arg(&fresh).arg("--pwfile").arg(&password);
        command.args([
            "-U",
            ADMIN,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]);
        let outcome = run("initdb", command).await;
        std::fs::remove_file(&password).at("cannot remove", &password)?;
        outcome?;
        std::fs::rename(&fresh, self.data()).at("cannot put into its place", &self.data())
    }

    fn spec(&self) -> Result<Spec> {
        let (program, args) = self.tree.launch(&format!("{BIN}/postgres"));
        let mut spec =
            Spec::new(&self.name, program, self.probe()?).args(args).args(["-D".into(), self.data().into_os_string()]);
        spec.listens = vec![self.address];
        spec.before = Some(self.clear_lock());
        spec.deadline = READY;
        spec.stop_signal = Signal::SIGINT;
        spec.rank = rank::STORE;
        spec.unprivileged = true;
        Ok(spec)
    }

    fn probe(&self) -> Result<Probe> {
        let options = self.options(ADMIN, ADMIN, &self.admin_password()?);
        Ok(Arc::new(move || {
            let options = options.clone();
            Box::pin(async move {
                let connection = options.connect().await.map_err(|e| root_cause(&e))?;
                connection.close().await.map_err(|e| root_cause(&e))
            })
        }))
    }

    fn options(&self, database: &str, user: &str, password: &Secret) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(&self.address.ip().to_string())
            .port(self.address.port())
            .database(database)
            .username(user)
            .password(password.expose())
            .ssl_mode(PgSslMode::Disable)
    }

    /// A connection as the cluster's superuser.
    pub async fn connect_as_admin(&self, database: &str) -> Result<PgConnection> {
        self.options(database, ADMIN, &self.admin_password()?).connect().await.map_err(|e| self.refused(&e))
    }

    fn refused(&self, error: &sqlx::Error) -> Error {
        Error::refused(&self.name, root_cause(error))
    }

    /// A postmaster that was killed leaves its lock file, and backends that hold its memory until they
    /// notice. The site's lock says that nobody else starts one here, so once they are gone the file is
    /// stale, even if its pid has been given to a stranger since.
    fn clear_lock(&self) -> Probe {
        let data = self.data();
        Arc::new(move || {
            let data = data.clone();
            Box::pin(async move {
                end_workers_in(&data).await;
                match std::fs::remove_file(data.join("postmaster.pid")) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
                    _ => Ok(()),
                }
            })
        })
    }

    async fn provision(&self) -> Result<()> {
        let mut admin = self.connect_as_admin(ADMIN).await?;
        let (roles, databases) = self.found(&mut admin).await?;
        for database in &self.databases {
            let (name, password) = (&database.name, self.secrets.get_or_make(&database.secret)?);
            let verb = if roles.contains(name) { "alter" } else { "create" };
            // Role names come from declarations, passwords are hex: neither can carry a quote.
            self.execute(
                &mut admin,
                format!("{verb} role \"{name}\" login nosuperuser nobypassrls password '{}'", password.expose()),
            )
            .await?;
            if !databases.contains(name) {
                self.execute(&mut admin, format!("create database \"{name}\" owner \"{name}\"")).await?;
            }
            self.execute(&mut admin, format!("revoke all on database \"{name}\" from public")).await?;
        }
        // Nobody but the superuser has business in the server's own databases.
        self.execute(&mut admin, "revoke all on database postgres, template1 from public".to_owned()).await?;
        admin.close().await.map_err(|e| self.refused(&e))
    }

    async fn execute(&self, connection: &mut PgConnection, statement: String) -> Result<()> {
        sqlx::query(AssertSqlSafe(statement)).execute(connection).await.map(|_| ()).map_err(|e| self.refused(&e))
    }

    /// Roles and databases that exist.
    async fn found(&self, admin: &mut PgConnection) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let roles = sqlx::query_scalar::<_, String>("select rolname::text from pg_roles").fetch_all(&mut *admin).await;
        let databases = sqlx::query_scalar::<_, String>("select datname::text from pg_database").fetch_all(admin).await;
        let collect = |list: std::result::Result<Vec<String>, sqlx::Error>| {
            list.map(BTreeSet::from_iter).map_err(|e| self.refused(&e))
        };
        Ok((collect(roles)?, collect(databases)?))
    }
}

#[async_trait]
impl Driver for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    async fn plan(&self) -> Result<Vec<Change>> {
        if !self.data().join("PG_VERSION").exists() {
            let cluster = Change::create(format!("{}: cluster at {}", self.name, self.address));
            let databases =
                self.databases.iter().map(|d| Change::create(format!("{}: database {}", self.name, d.name)));
            return Ok([cluster].into_iter().chain(databases).collect());
        }
        Ok(self.files().iter().filter_map(|(path, text)| file_change(path, text)).collect())
    }

    async fn apply(&self, supervisor: &Supervisor) -> Result<()> {
        self.initialise().await?;
        for (path, text) in self.files() {
            write_private(&path, text.as_bytes())?;
            Unprivileged::of_this_machine().own(&path)?;
        }
        supervisor.start(self.spec()?).await?;
        self.provision().await
    }

    async fn check(&self) -> Result<()> {
        for database in &self.databases {
            let password = self.secrets.get_or_make(&database.secret)?;
            let options = self.options(&database.name, &database.name, &password);
            let connection = options.connect().await.map_err(|e| self.refused(&e))?;
            connection.close().await.map_err(|e| self.refused(&e))?;
        }
        Ok(())
    }

    async fn drift(&self) -> Result<Vec<Change>> {
        let mut admin = self.connect_as_admin(ADMIN).await?;
        let (roles, databases) = self.found(&mut admin).await?;
        let wanted: BTreeSet<&str> = self.databases.iter().map(|d| d.name.as_str()).collect();
        let mut changes = self.plan().await?;
        for name in &wanted {
            if !roles.contains(*name) {
                changes.push(Change::create(format!("{}: role {name}", self.name)));
            }
            if !databases.contains(*name) {
                changes.push(Change::create(format!("{}: database {name}", self.name)));
            }
        }
        let own = ["postgres", "template0", "template1"];
        let strangers = databases.iter().filter(|d| !wanted.contains(d.as_str()) && !own.contains(&d.as_str()));
        changes.extend(strangers.map(|d| Change::remove(format!("{}: database {d}", self.name))));
        Ok(changes)
    }

    async fn destroy(&self) -> Result<()> {
        remove_tree(&self.dir)
    }
}
