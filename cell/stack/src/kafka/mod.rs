//! An Apache Kafka broker of one (KRaft: broker and controller in one process). A SCRAM principal per
//! service, everything denied that the contracts do not allow, nothing created by asking for it.

mod classes;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use kit::Secret;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;

pub use classes::record as record_classes;

use crate::addresses::{KAFKA_CONTROLLER_PORT, KAFKA_PORT};
use crate::driver::{Change, Driver, file_change};
use crate::error::{At, Error, Result};
use crate::files::{private_dir, remove_tree, write_private};
use crate::java;
use crate::parts::Tree;
use crate::process::{Probe, Spec, Supervisor, rank, run, wrap};
use crate::secrets::Secrets;
use classes::{Classes, RECORDING_GRACE};

/// The super user; its password is the secret `admin.kafka`.
pub const ADMIN: &str = "admin";

/// One broker holds one tenant group's load on a laptop: a small heap, the small collector.
const JVM: &[&str] = &[
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
];
/// For commands that run once.
const JVM_ONCE: &[&str] = &["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

const LOGGING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.common.utils.AppInfoParser" level="WARN"/>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"#;

#[derive(Debug, Clone)]
pub struct Kafka {
    name: String,
    dir: PathBuf,
    address: IpAddr,
    /// Principals besides [`ADMIN`]; the secret is `<principal>.kafka`.
    principals: BTreeSet<String>,
    secrets: Secrets,
    classes: Classes,
    tree: Tree,
}

impl Kafka {
    pub fn new(
        owner: &str,
        dir: &Path,
        address: IpAddr,
        principals: BTreeSet<String>,
        secrets: Secrets,
        tree: Tree,
    ) -> Self {
        Self {
            name: format!("{owner}.kafka"),
            dir: dir.to_owned(),
            address,
            principals,
            secrets,
            classes: Classes::of(&tree),
            tree,
        }
    }

    /// Principals of a cell: every service may sign in; what it may do is for the contracts to say.
    pub fn principals_of_a_cell() -> BTreeSet<String> {
        let services = contracts::services::SERVICES.iter().map(|s| s.name.to_owned());
        services.chain(contracts::kafka::principals()).collect()
    }

    pub fn bootstrap(&self) -> String {
        format!("{}:{KAFKA_PORT}", self.address)
    }

    fn password(&self, principal: &str) -> Result<Secret> {
        self.secrets.get_or_make(&format!("{principal}.kafka"))
    }

    fn properties_file(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    /// Which principals the broker has credentials for, as far as we gave them.
    fn known_file(&self) -> PathBuf {
        self.dir.join("principals")
    }

    fn known(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.known_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn properties(&self) -> Result<String> {
        let (admin, controller) = (self.password(ADMIN)?, self.password("controller")?);
        let (admin, controller) = (admin.expose(), controller.expose());
        let address = self.address;
        let data = self.dir.join("data").display().to_string();
        Ok(format!(
            "# Written by cyto; changed at every start.\n\
             process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@{address}:{KAFKA_CONTROLLER_PORT}\n\
             listeners=CLIENT://{address}:{KAFKA_PORT},CONTROLLER://{address}:{KAFKA_CONTROLLER_PORT}\n\
             advertised.listeners=CLIENT://{address}:{KAFKA_PORT}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=CLIENT\n\
             listener.security.protocol.map=CONTROLLER:SASL_PLAINTEXT,CLIENT:SASL_PLAINTEXT\n\
             sasl.enabled.mechanisms=SCRAM-SHA-512\nsasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\n\
             sasl.mechanism.controller.protocol=PLAIN\n\
             listener.name.controller.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{ADMIN}\" password=\"{controller}\" user_{ADMIN}=\"{controller}\";\n\
             listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{ADMIN}\" password=\"{admin}\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:{ADMIN}\nallow.everyone.if.no.acl.found=false\nauto.create.topics.enable=false\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\nshare.coordinator.state.topic.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nnum.network.threads=2\nnum.io.threads=4\nbackground.threads=2\n\
             log.segment.bytes=134217728\nlog.cleaner.dedupe.buffer.size=4194304\nlog.cleaner.io.buffer.size=524288\n\
             message.max.bytes=8388608\nreplica.fetch.max.bytes=8388608\ncontrolled.shutdown.max.retries=1\n"
        ))
    }

    fn java(&self, options: &[&str]) -> Result<(PathBuf, Vec<String>)> {
        let mut args: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        args.push(format!("-Dlog4j2.configurationFile={}", self.dir.join("log4j2.xml").display()));
        args.push("-cp".to_owned());
        args.push(format!("{}/*", self.tree.path("lib").display()));
        Ok((java::find()?, args))
    }

    /// One of Kafka's commands. Its arguments hold passwords, so they travel in a private file: other
    /// users see the command line of every process.
    async fn once(&self, class: &str, args: Vec<String>) -> Result<()> {
        let (java, options) = self.java(JVM_ONCE)?;
        let path = self.dir.join("arguments");
        let words = options.into_iter().chain([class.to_owned()]).chain(args);
        let lines: String = words.map(|w| format!("\"{}\"\n", w.replace('\\', "\\\\").replace('"', "\\\""))).collect();
        write_private(&path, lines.as_bytes())?;
        let mut command: Command = wrap(&java, false);
        command.arg(format!("@{}", path.display()));
        let outcome = run(class, command).await;
        std::fs::remove_file(&path).at("cannot remove", &path)?;
        outcome.map(|_| ())
    }

    fn scram(&self, principal: &str) -> Result<String> {
        Ok(format!("SCRAM-SHA-512=[name={principal},password={}]", self.password(principal)?.expose()))
    }

    async fn format(&self) -> Result<()> {
        let data = self.dir.join("data");
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        remove_tree(&data)?;
        let id = cluster_id(uuid::Uuid::new_v4());
        let mut args =
            vec!["format".into(), "-t".into(), id, "-c".into(), self.properties_file().display().to_string()];
        for principal in self.principals.iter().map(String::as_str).chain([ADMIN]) {
            args.extend(["--add-scram".to_owned(), self.scram(principal)?]);
        }
        self.once("kafka.tools.StorageTool", args).await?;
        self.remember()
    }

    fn remember(&self) -> Result<()> {
        let text: Vec<&str> = self.principals.iter().map(String::as_str).collect();
        write_private(&self.known_file(), text.join("\n").as_bytes()).map(|_| ())
    }

    /// Credentials for principals that joined after the storage was formatted.
    async fn add_principals(&self) -> Result<()> {
        let known = self.known();
        let client = self.dir.join("admin.properties");
        for principal in self.principals.difference(&known) {
            let admin = self.password(ADMIN)?;
            let settings = format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n\
                 sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{ADMIN}\" password=\"{}\";\n",
                admin.expose()
            );
            write_private(&client, settings.as_bytes())?;
            let password = self.password(principal)?;
            let change = format!("SCRAM-SHA-512=[password={}]", password.expose());
            let args = [
                "--bootstrap-server",
                &self.bootstrap(),
                "--command-config",
                &client.display().to_string(),
                "--alter",
                "--add-config",
                &change,
                "--entity-type",
                "users",
                "--entity-name",
                principal,
            ];
            self.once("kafka.admin.ConfigCommand", args.iter().map(|a| (*a).to_owned()).collect()).await?;
        }
        self.remember()
    }

    fn spec(&self) -> Result<Spec> {
        let (java, mut args) = self.java(JVM)?;
        args.splice(0..0, self.classes.option());
        args.extend(["kafka.Kafka".to_owned(), self.properties_file().display().to_string()]);
        let mut spec = Spec::new(&self.name, java, self.probe()?).args(args);
        spec.listens =
            vec![SocketAddr::new(self.address, KAFKA_PORT), SocketAddr::new(self.address, KAFKA_CONTROLLER_PORT)];
        spec.deadline = Duration::from_secs(120);
        spec.rank = rank::STORE;
        spec.grace = match self.classes {
            Classes::Record(_) => RECORDING_GRACE,
            _ => Duration::from_secs(15),
        };
        Ok(spec)
    }

    /// Ready when the port is open; the first sign-in is [`Driver::check`]'s.
    fn probe(&self) -> Result<Probe> {
        Ok(crate::process::accepts(SocketAddr::new(self.address, KAFKA_PORT)))
    }

    /// Settings of a client that signs in as `principal`.
    pub fn client(&self, principal: &str) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("security.protocol", "SASL_PLAINTEXT")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", principal)
            .set("sasl.password", self.password(principal)?.expose())
            .set("log_level", "2");
        Ok(config)
    }

    async fn metadata(&self) -> Result<usize> {
        let client: Arc<AdminClient<DefaultClientContext>> =
            Arc::new(self.client(ADMIN)?.create().map_err(|e| Error::refused(&self.name, e))?);
        let name = self.name.clone();
        let ask = move || {
            let metadata = client.inner().fetch_metadata(None, Duration::from_secs(20));
            metadata.map(|m| m.brokers().len()).map_err(|e| Error::refused(name, e))
        };
        tokio::task::spawn_blocking(ask).await.map_err(|e| Error::refused(&self.name, e))?
    }
}

/// Kafka's way of writing a UUID. A leading `-` would be taken for an option.
fn cluster_id(id: uuid::Uuid) -> String {
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.as_bytes());
    text.strip_prefix('-').map(|rest| format!("A{rest}")).unwrap_or(text)
}

#[async_trait]
impl Driver for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    async fn plan(&self) -> Result<Vec<Change>> {
        if !self.dir.join("data/meta.properties").exists() {
            let broker = Change::create(format!("{}: broker at {}", self.name, self.bootstrap()));
            let principals = self.principals.iter().map(|p| Change::create(format!("{}: principal {p}", self.name)));
            return Ok([broker].into_iter().chain(principals).collect());
        }
        let known = self.known();
        let added = self.principals.difference(&known).map(|p| Change::create(format!("{}: principal {p}", self.name)));
        Ok(file_change(&self.properties_file(), &self.properties()?).into_iter().chain(added).collect())
    }

    async fn apply(&self, supervisor: &Supervisor) -> Result<()> {
        private_dir(&self.dir)?;
        write_private(&self.properties_file(), self.properties()?.as_bytes())?;
        write_private(&self.dir.join("log4j2.xml"), LOGGING.as_bytes())?;
        self.format().await?;
        supervisor.start(self.spec()?).await?;
        self.check().await?;
        self.add_principals().await
    }

    async fn check(&self) -> Result<()> {
        match self.metadata().await? {
            0 => Err(Error::refused(&self.name, "no broker answers")),
            _ => Ok(()),
        }
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
    fn a_cluster_id_is_never_taken_for_an_option() {
        assert!(cluster_id(uuid::Uuid::from_bytes([0xf8; 16])).starts_with('A'));
        assert_eq!(cluster_id(uuid::Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn every_declared_principal_can_sign_in() {
        let principals = Kafka::principals_of_a_cell();
        assert!(contracts::kafka::principals().iter().all(|p| principals.contains(p)));
    }
}
