//! A cell's share of the object storage: an RGW tenant with one user, a quota, the bucket `warehouse`,
//! and a role from which prefix-scoped credentials are vended.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use kit::Secret;
use rusty_s3::{Credentials, S3Action, UrlStyle};
use serde_json::{Value, json};

use super::{Ceph, REGION};
use crate::driver::{Change, Driver};
use crate::error::{Error, Result};
use crate::files::write_private;
use crate::process::{Supervisor, root_cause, run};
use crate::secrets::Secrets;

pub const NAME: &str = "warehouse";
const USER: &str = "cell";
const ROLE: &str = "warehouse";
/// Name of the user's secret key among the cell's secrets.
const SECRET: &str = "bucket.secret";
const SIGNATURE_LIFE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Bucket {
    name: String,
    ceph: Ceph,
    /// RGW allows letters, digits and `_` only.
    tenant: String,
    quota_bytes: u64,
    access_key: String,
    secrets: Secrets,
    /// What was applied last, so that a warm start asks one question only.
    applied: PathBuf,
}

impl Bucket {
    pub fn new(cell: &str, dir: &Path, ceph: Ceph, quota_bytes: u64, secrets: &Secrets) -> Result<Self> {
        let access_key =
            secrets.get_or_make("bucket.access")?.expose().chars().take(20).collect::<String>().to_uppercase();
        Ok(Self {
            name: format!("{cell}.bucket"),
            ceph,
            tenant: cell.replace('-', "_"),
            quota_bytes,
            access_key,
            secrets: secrets.clone(),
            applied: dir.join("bucket.applied"),
        })
    }

    pub fn endpoint(&self) -> String {
        self.ceph.endpoint()
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub fn role_arn(&self) -> String {
        format!("arn:aws:iam::{}:role/{ROLE}", self.tenant)
    }

    fn admin(&self, words: &[&str]) -> Command {
        let mut command = self.ceph.radosgw_admin();
        command.args(words).args(["--tenant", &self.tenant]);
        command
    }

    async fn ask(&self, words: &[&str]) -> Option<Value> {
        let answer = run("radosgw-admin", self.admin(words)).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    async fn tell(&self, words: &[&str]) -> Result<()> {
        run(&format!("radosgw-admin {}", words[..2].join(" ")), self.admin(words)).await.map(|_| ())
    }

    fn trust(&self) -> String {
        let user = format!("arn:aws:iam::{}:user/{USER}", self.tenant);
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "AWS": [user] }, "Action": ["sts:AssumeRole"] }] }).to_string()
    }

    fn policy(&self) -> String {
        let bucket = format!("arn:aws:s3::{}:{NAME}", self.tenant);
        let resources = [bucket.clone(), format!("{bucket}/*")];
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": ["s3:*"], "Resource": resources }] }).to_string()
    }

    /// Everything that is wanted, except the secret.
    fn wanted(&self) -> String {
        json!({ "tenant": self.tenant, "access": self.access_key, "quota": self.quota_bytes, "trust": self.trust(), "policy": self.policy() }).to_string()
    }

    async fn provision(&self) -> Result<()> {
        if self.ask(&["user", "info", "--uid", USER]).await.is_none() {
            let create =
                ["user", "create", "--uid", USER, "--display-name", &self.tenant, "--access-key", &self.access_key];
            // The gateway makes the secret: one of ours would stand in a command line for all to read.
            self.tell(&[create.as_slice(), &["--gen-secret"]].concat()).await?;
        }
        self.keep_secret().await?;
        self.limit(self.quota_bytes).await?;
        if self.ask(&["role", "get", "--role-name", ROLE]).await.is_none() {
            self.tell(&["role", "create", "--role-name", ROLE, "--assume-role-policy-doc", &self.trust()]).await?;
        }
        self.tell(&[
            "role",
            "policy",
            "put",
            "--role-name",
            ROLE,
            "--policy-name",
            ROLE,
            "--policy-doc",
            &self.policy(),
        ])
        .await?;
        self.create_bucket().await
    }

    /// How much the cell may store at all. What is stored already stays, however much it is.
    async fn limit(&self, bytes: u64) -> Result<()> {
        let bytes = bytes.to_string();
        self.tell(&["quota", "set", "--quota-scope=user", "--uid", USER, "--max-size", &bytes]).await?;
        self.tell(&["quota", "enable", "--quota-scope=user", "--uid", USER]).await
    }

    /// Lets the cell store nothing more; [`Bucket::reopen`] gives it its quota again.
    pub async fn close(&self) -> Result<()> {
        self.limit(1).await
    }

    pub async fn reopen(&self) -> Result<()> {
        self.limit(self.quota_bytes).await
    }

    async fn keep_secret(&self) -> Result<()> {
        let user = self.ask(&["user", "info", "--uid", USER]).await.unwrap_or_default();
        let keys = user["keys"].as_array().into_iter().flatten();
        let own =
            keys.filter(|key| key["access_key"] == self.access_key.as_str()).find_map(|key| key["secret_key"].as_str());
        let secret = own.ok_or_else(|| Error::refused(&self.name, "the user has no such key"))?;
        self.secrets.put(SECRET, &Secret::new(secret))
    }

    fn signed(&self) -> Result<(rusty_s3::Bucket, Credentials)> {
        let url = self.endpoint().parse().map_err(|e| Error::refused(&self.name, e))?;
        let bucket =
            rusty_s3::Bucket::new(url, UrlStyle::Path, NAME, REGION).map_err(|e| Error::refused(&self.name, e))?;
        let secret = self.secrets.get(SECRET)?.ok_or_else(|| Error::refused(&self.name, "it was not made yet"))?;
        Ok((bucket, Credentials::new(self.access_key.as_str(), secret.expose())))
    }

    async fn create_bucket(&self) -> Result<()> {
        let (bucket, credentials) = self.signed()?;
        let url = bucket.create_bucket(&credentials).sign(SIGNATURE_LIFE);
        let answer =
            reqwest::Client::new().put(url).send().await.map_err(|e| Error::refused(&self.name, root_cause(&e)))?;
        let status = answer.status();
        // 409: it exists. Whether it is ours, the check tells.
        if status.is_success() || status == reqwest::StatusCode::CONFLICT {
            return Ok(());
        }
        Err(Error::refused(&self.name, format!("cannot be created: {status}")))
    }
}

#[async_trait]
impl Driver for Bucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn plan(&self) -> Result<Vec<Change>> {
        match std::fs::read_to_string(&self.applied) {
            Ok(applied) if applied == self.wanted() => Ok(Vec::new()),
            Ok(_) => Ok(vec![Change::alter(format!("{}: quota or role", self.name))]),
            Err(_) => Ok(vec![Change::create(format!(
                "{}: RGW tenant {}, user, quota, role, bucket {NAME}",
                self.name, self.tenant
            ))]),
        }
    }

    async fn apply(&self, _: &Supervisor) -> Result<()> {
        if self.plan().await?.is_empty() && self.check().await.is_ok() {
            return Ok(());
        }
        self.provision().await?;
        self.check().await?;
        write_private(&self.applied, self.wanted().as_bytes()).map(|_| ())
    }

    async fn check(&self) -> Result<()> {
        let (bucket, credentials) = self.signed()?;
        let url = bucket.head_bucket(Some(&credentials)).sign(SIGNATURE_LIFE);
        let answer =
            reqwest::Client::new().head(url).send().await.map_err(|e| Error::refused(&self.name, root_cause(&e)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Error::refused(&self.name, format!("the bucket answers {status}"))),
        }
    }

    async fn drift(&self) -> Result<Vec<Change>> {
        let mut changes = self.plan().await?;
        match self.ask(&["user", "info", "--uid", USER]).await {
            None => changes.push(Change::create(format!("{}: user {USER}", self.name))),
            Some(user) => {
                let quota = &user["user_quota"];
                if quota["enabled"] != Value::Bool(true) || quota["max_size"].as_u64() != Some(self.quota_bytes) {
                    changes.push(Change::alter(format!("{}: quota", self.name)));
                }
            }
        }
        if self.ask(&["role", "get", "--role-name", ROLE]).await.is_none() {
            changes.push(Change::create(format!("{}: role {ROLE}", self.name)));
        }
        if self.check().await.is_err() {
            changes.push(Change::create(format!("{}: bucket {NAME}", self.name)));
        }
        Ok(changes)
    }

    /// Needs the running cluster: the data lies in it.
    async fn destroy(&self) -> Result<()> {
        if self.ask(&["user", "info", "--uid", USER]).await.is_some() {
            self.tell(&["user", "rm", "--uid", USER, "--purge-data"]).await?;
        }
        if self.ask(&["role", "get", "--role-name", ROLE]).await.is_some() {
            self.tell(&["role", "policy", "delete", "--role-name", ROLE, "--policy-name", ROLE]).await?;
            self.tell(&["role", "delete", "--role-name", ROLE]).await?;
        }
        let _absent = std::fs::remove_file(&self.applied);
        Ok(())
    }
}
