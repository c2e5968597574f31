//! A nats-server with JetStream. Who may publish and subscribe what is written into its configuration
//! from the contracts; streams and consumers are made by `cell contracts apply`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use contracts::nats::Permissions;
use serde::Deserialize;

use crate::addresses::{NATS_MONITOR_PORT, NATS_PORT};
use crate::driver::{Change, Driver, file_change};
use crate::error::{Error, Result};
use crate::files::{private_dir, remove_tree, write_private};
use crate::parts::Tree;
use crate::process::{Spec, Supervisor, answers, rank, root_cause};
use crate::secrets::Secrets;

/// The user that may create streams and consumers, and nothing else; secret `contracts.nats`.
pub const CONTRACTS_USER: &str = "contracts";

#[derive(Debug, Clone)]
pub struct Nats {
    owner: String,
    name: String,
    dir: PathBuf,
    address: IpAddr,
    /// One user each; the secret is `<user>.nats`.
    users: Vec<Permissions>,
    secrets: Secrets,
    tree: Tree,
}

/// What we ask the server about itself: older ones take unknown settings in silence.
#[derive(Deserialize)]
struct Echo {
    version: String,
    #[serde(default)]
    jetstream: serde_json::Value,
}

impl Nats {
    pub fn new(
        owner: &str,
        dir: &Path,
        address: IpAddr,
        users: Vec<Permissions>,
        secrets: Secrets,
        tree: Tree,
    ) -> Self {
        Self { owner: owner.into(), name: format!("{owner}.nats"), dir: dir.to_owned(), address, users, secrets, tree }
    }

    /// Users of a cell: one per service, with what the contracts allow; a service without control
    /// events may sign in and do nothing.
    pub fn users_of_a_cell() -> Vec<Permissions> {
        let mut users = contracts::nats::permissions();
        for service in contracts::services::SERVICES {
            if users.iter().all(|u| u.user != service.name) {
                let subscribe = vec![format!("{}.>", contracts::nats::inbox_prefix(service.name))];
                users.push(Permissions { user: service.name.to_owned(), publish: Vec::new(), subscribe });
            }
        }
        users
    }

    pub fn url(&self) -> String {
        format!("nats://{}:{NATS_PORT}", self.address)
    }

    fn monitor(&self, path: &str) -> String {
        format!("http://{}:{NATS_MONITOR_PORT}{path}", self.address)
    }

    fn file(&self) -> PathBuf {
        self.dir.join("nats.conf")
    }

    fn configuration(&self) -> Result<String> {
        let mut users = String::new();
        let contracts_user = Permissions {
            user: CONTRACTS_USER.to_owned(),
            publish: vec!["$JS.API.>".to_owned()],
            subscribe: vec![format!("{}.>", contracts::nats::inbox_prefix(CONTRACTS_USER))],
        };
        for user in self.users.iter().chain([&contracts_user]) {
            let password = self.secrets.get_or_make(&format!("{}.nats", user.user))?;
            let _infallible = writeln!(
                users,
                "      {{ user: {}, password: {}, permissions: {{ publish: {}, subscribe: {} }} }}",
                quoted(&user.user),
                quoted(password.expose()),
                rule(&user.publish),
                rule(&user.subscribe),
            );
        }
        let system = self.secrets.get_or_make("system.nats")?;
        Ok(format!(
            "# Written by cyto from the contracts; changed at every start.\n\
             server_name: {owner}\nlisten: \"{address}:{NATS_PORT}\"\nhttp: \"{address}:{NATS_MONITOR_PORT}\"\n\
             jetstream {{ store_dir: {store}, max_file: 8GB, max_mem: 64MB }}\n\
             accounts {{\n  {account}: {{\n    jetstream: enabled\n    users: [\n{users}    ]\n  }}\n  \
             SYS: {{ users: [ {{ user: system, password: {system} }} ] }}\n}}\nsystem_account: SYS\n",
            owner = quoted(&self.owner),
            address = self.address,
            store = quoted(&self.dir.join("jetstream").display().to_string()),
            account = contracts::nats::ACCOUNT,
            system = quoted(system.expose()),
        ))
    }

    fn spec(&self) -> Spec {
        let (program, args) = self.tree.launch("usr/sbin/nats-server");
        let ready = answers(self.monitor("/healthz?js-enabled-only=true"));
        let mut spec =
            Spec::new(&self.name, program, ready).args(args).args(["-c".into(), self.file().into_os_string()]);
        spec.listens = vec![SocketAddr::new(self.address, NATS_PORT), SocketAddr::new(self.address, NATS_MONITOR_PORT)];
        spec.deadline = Duration::from_secs(30);
        spec.rank = rank::STORE;
        spec
    }

    async fn echo(&self) -> Result<Echo> {
        let refused = |e: reqwest::Error| Error::refused(&self.name, root_cause(&e));
        reqwest::get(self.monitor("/varz")).await.map_err(refused)?.json().await.map_err(refused)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Only what is listed; an empty list is a refusal of everything.
fn rule(subjects: &[String]) -> String {
    match subjects {
        [] => "{ deny: [\">\"] }".to_owned(),
        some => format!("{{ allow: {} }}", serde_json::Value::from(some)),
    }
}

#[async_trait]
impl Driver for Nats {
    fn name(&self) -> &str {
        &self.name
    }

    async fn plan(&self) -> Result<Vec<Change>> {
        if !self.file().exists() {
            return Ok(vec![Change::create(format!("{}: server at {}", self.name, self.url()))]);
        }
        Ok(file_change(&self.file(), &self.configuration()?).into_iter().collect())
    }

    async fn apply(&self, supervisor: &Supervisor) -> Result<()> {
        private_dir(&self.dir)?;
        write_private(&self.file(), self.configuration()?.as_bytes())?;
        supervisor.start(self.spec()).await?;
        self.check().await
    }

    async fn check(&self) -> Result<()> {
        let echo = self.echo().await?;
        if echo.jetstream.get("config").is_none() {
            return Err(Error::refused(&self.name, format!("version {} runs without JetStream", echo.version)));
        }
        Ok(())
    }

    async fn drift(&self) -> Result<Vec<Change>> {
        self.check().await?;
        self.plan().await
    }

    async fn destroy(&self) -> Result<()> {
        remove_tree(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_subjects_may_publish_nothing() {
        assert_eq!(rule(&[]), r#"{ deny: [">"] }"#);
        assert_eq!(rule(&["of.a.b.*".into()]), r#"{ allow: ["of.a.b.*"] }"#);
    }

    #[test]
    fn every_service_of_a_cell_has_a_user() {
        let users = Nats::users_of_a_cell();
        for service in contracts::services::SERVICES {
            assert_eq!(users.iter().filter(|u| u.user == service.name).count(), 1, "{}", service.name);
        }
    }
}
