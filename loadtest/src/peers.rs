//! Other engines over copies of the same Parquet files, in a process of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::door::Door;
use crate::statements::Statement;
use crate::tables::Tables;

const SCRIPT: &str = include_str!("peers.py");

/// The running script; it answers one line to every line.
pub struct Peers {
    talk: Mutex<Talk>,
    _child: Child,
}

struct Talk {
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Times(std::collections::BTreeMap<String, Vec<f64>>),
    Failure { error: String },
}

impl Peers {
    /// Starts the engines and copies the tables' files out of the bucket for them, through the catalog.
    pub async fn start(python: &Path, door: &Door, tables: &Tables, folder: PathBuf) -> anyhow::Result<Self> {
        let mut child = Command::new(python)
            .args(["-u", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| python.display().to_string())?;
        let to = child.stdin.take().context("no standard input")?;
        let from = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let peers = Self { talk: Mutex::new(Talk { to, from }), _child: child };
        let (catalog, tenant) = (format!("{}/iceberg", door.base()), door.tenant());
        // By standard input: a token in an argument could be read by anybody.
        let begin = json!({ "catalog": catalog, "tenant": tenant, "token": door.token(), "tables": tables.names(), "folder": folder });
        peers.ask(&begin).await.context("the peers could not start")?;
        Ok(peers)
    }

    /// Engine and milliseconds of each repetition.
    pub async fn times(&self, statement: &Statement, repetitions: usize) -> anyhow::Result<Vec<(String, Vec<f64>)>> {
        self.ask(&json!({ "sql": statement.sql, "repetitions": repetitions })).await.context(statement.name)
    }

    async fn ask(&self, question: &serde_json::Value) -> anyhow::Result<Vec<(String, Vec<f64>)>> {
        let mut talk = self.talk.lock().await;
        talk.to.write_all(format!("{question}\n").as_bytes()).await?;
        let line = talk.from.next_line().await?.context("the peers ended")?;
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Answer::Times(times) => Ok(times.into_iter().collect()),
            Answer::Failure { error } => bail!(error),
        }
    }
}
