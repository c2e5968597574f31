//! Statements as they are recorded and routed: pure decisions.

use contracts::events::{AuditEntryRecorded, LineageDataset, LineageRunEvent};
use kit::Scope;
use query_engine::Pin;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tonic::Code;
use uuid::Uuid;

/// Where a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It reads tables: the compute pool.
    Pool,
    /// It reads none: here.
    Edge,
}

impl Route {
    /// Decided on what the bound plan reads, never on the text.
    pub fn of(pins: &[Pin]) -> Self {
        if pins.is_empty() { Route::Edge } else { Route::Pool }
    }

    pub fn name(self) -> &'static str {
        match self {
            Route::Pool => "pool",
            Route::Edge => "edge",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Finished,
    Failed(Code),
    /// Its reader went away or cancelled it.
    Abandoned,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Finished => "finished",
            State::Failed(_) => "failed",
            State::Abandoned => "abandoned",
        }
    }

    /// HTTP status of the outcome, as the audit knows it.
    fn status(self) -> u16 {
        match self {
            State::Finished => 200,
            // nginx's word for a caller that did not wait for the answer.
            State::Abandoned => 499,
            State::Failed(code) => match code {
                Code::InvalidArgument | Code::OutOfRange => 422,
                Code::Unauthenticated => 401,
                Code::PermissionDenied => 403,
                Code::NotFound => 404,
                Code::AlreadyExists | Code::Aborted => 409,
                Code::FailedPrecondition => 412,
                Code::ResourceExhausted => 429,
                Code::Unavailable => 503,
                Code::DeadlineExceeded => 504,
                _ => 500,
            },
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            State::Finished | State::Abandoned => "allowed",
            State::Failed(Code::PermissionDenied) => "denied",
            State::Failed(_) => "failed",
        }
    }
}

/// What a statement says, without its literals.
#[derive(Debug, Clone)]
pub struct Words {
    /// SHA-256 in hex.
    pub fingerprint: String,
    pub redacted: Option<String>,
}

impl Words {
    pub fn of(sql: &str) -> Self {
        let redacted = query_engine::redact(sql);
        let digest = Sha256::digest(redacted.as_deref().unwrap_or(sql).as_bytes());
        Self { fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(), redacted }
    }
}

/// One run of a statement, over.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: Uuid,
    pub scope: Scope,
    pub statement_id: Uuid,
    pub words: Words,
    pub route: Route,
    pub pins: Vec<Pin>,
    pub state: State,
    pub error: Option<String>,
    pub rows: u64,
    /// Bytes sent, as Arrow.
    pub bytes: u64,
    pub started_at: OffsetDateTime,
    pub finished_at: OffsetDateTime,
}

impl Run {
    /// `<namespace>.<table>`, sorted, without repeats and without the snapshot asked for.
    pub fn tables(&self) -> Vec<String> {
        let mut names: Vec<String> = self.pins.iter().map(table).collect();
        names.sort();
        names.dedup();
        names
    }

    pub fn audit(&self) -> AuditEntryRecorded {
        AuditEntryRecorded {
            request_id: self.scope.request_id.clone(),
            actor: self.scope.actor.to_string(),
            action: "sql.statement".to_owned(),
            resource: self.words.fingerprint.clone(),
            outcome: self.state.outcome().to_owned(),
            status: self.state.status(),
            detail: Some(json!({
                "statement": self.statement_id,
                "state": self.state.name(),
                "route": self.route.name(),
                "tables": self.tables(),
                "rows": self.rows,
            })),
        }
    }

    /// `None` for a statement that read no table.
    pub fn lineage(&self) -> Option<LineageRunEvent> {
        if self.pins.is_empty() {
            return None;
        }
        let short = self.words.fingerprint.get(..16).unwrap_or(&self.words.fingerprint);
        let event_type = match self.state {
            State::Finished => "COMPLETE",
            State::Failed(_) => "FAIL",
            State::Abandoned => "ABORT",
        };
        Some(LineageRunEvent {
            event_type: event_type.to_owned(),
            run_id: self.id,
            job_namespace: format!("sql://{}", self.scope.tenant),
            job_name: format!("statement.{short}"),
            inputs: self.pins.iter().map(|pin| self.input(pin)).collect(),
            outputs: Vec::new(),
            producer: "https://cytoplane.dev/sql-bi-gateway".to_owned(),
        })
    }

    fn input(&self, pin: &Pin) -> LineageDataset {
        let version = pin.snapshot_id.map(|id| {
            json!({ "version": {
                "_producer": "https://cytoplane.dev/sql-bi-gateway",
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
                "datasetVersion": id.to_string(),
            }})
        });
        let namespace = format!("iceberg://{}", self.scope.tenant);
        LineageDataset { namespace, name: table(pin), facets: version }
    }
}

fn table(pin: &Pin) -> String {
    let base = pin.name.table.split('#').next().unwrap_or(&pin.name.table);
    format!("{}.{base}", pin.name.namespace)
}
