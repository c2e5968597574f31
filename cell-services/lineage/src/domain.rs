//! Runs, nodes and walks over the graph: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Bounds of one event.
pub const LONGEST_NAME: usize = 1_024;
pub const MOST_DATASETS: usize = 1_000;
pub const MOST_FACET_BYTES: usize = 256 << 10;
/// Bounds of one walk.
pub const DEEPEST: u32 = 20;
pub const MOST_NODES: usize = 2_000;

/// What OpenLineage allows in `eventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    Start,
    Running,
    Complete,
    Abort,
    Fail,
    Other,
}

impl RunState {
    const ALL: [RunState; 6] = [Self::Start, Self::Running, Self::Complete, Self::Abort, Self::Fail, Self::Other];

    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Abort => "ABORT",
            Self::Fail => "FAIL",
            Self::Other => "OTHER",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == text)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Abort | Self::Fail)
    }
}

/// A run as it is known so far. Events may come in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub state: RunState,
    pub started_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
}

impl Run {
    /// The run after one more event. The first end stays: a run ends once.
    pub fn after(known: Option<Run>, state: RunState, at: OffsetDateTime) -> Run {
        let mut run = known.unwrap_or(Run { state, started_at: None, ended_at: None });
        if run.ended_at.is_none() {
            if state.is_terminal() {
                (run.state, run.ended_at) = (state, Some(at));
            } else if state != RunState::Start || run.started_at.is_none() {
                run.state = state;
            }
        }
        if state == RunState::Start {
            run.started_at = Some(run.started_at.map_or(at, |known| known.min(at)));
        }
        run
    }
}

/// A dataset or a job, by its OpenLineage name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName {
    pub is_job: bool,
    pub namespace: String,
    pub name: String,
}

impl NodeName {
    pub fn dataset(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { is_job: false, namespace: namespace.into(), name: name.into() }
    }

    pub fn job(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { is_job: true, namespace: namespace.into(), name: name.into() }
    }

    pub fn kind(&self) -> &'static str {
        if self.is_job { "JOB" } else { "DATASET" }
    }

    /// `dataset:<namespace>:<name>`. Namespaces hold colons themselves (`s3://…`, `kafka://host:9092`),
    /// so an id is compared as a whole and never taken apart.
    pub fn id(&self) -> String {
        format!("{}:{}:{}", if self.is_job { "job" } else { "dataset" }, self.namespace, self.name)
    }
}

/// One event, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    pub event_id: Uuid,
    pub at: OffsetDateTime,
    pub state: RunState,
    pub run_id: Uuid,
    pub job: NodeName,
    pub producer: String,
    pub inputs: Vec<Dataset>,
    pub outputs: Vec<Dataset>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub node: NodeName,
    pub facets: Map<String, Value>,
}

/// Why an event is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("eventType is START, RUNNING, COMPLETE, ABORT, FAIL or OTHER")]
    Type,
    #[error("{0} is missing, empty, longer than {LONGEST_NAME} bytes or holds a control character")]
    Name(&'static str),
    #[error("an event names at most {MOST_DATASETS} datasets")]
    Datasets,
    #[error("facets of a dataset are a JSON object of at most {MOST_FACET_BYTES} bytes")]
    Facets,
}

impl RunEvent {
    pub fn check(&self) -> Result<(), EventError> {
        let sound = |text: &str| !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
        let names =
            [(&self.job.namespace, "job.namespace"), (&self.job.name, "job.name"), (&self.producer, "producer")];
        if let Some((_, what)) = names.into_iter().find(|(text, _)| !sound(text)) {
            return Err(EventError::Name(what));
        }
        if self.inputs.len() + self.outputs.len() > MOST_DATASETS {
            return Err(EventError::Datasets);
        }
        for dataset in self.inputs.iter().chain(&self.outputs) {
            if !sound(&dataset.node.namespace) || !sound(&dataset.node.name) {
                return Err(EventError::Name("the namespace or name of a dataset"));
            }
            if Value::Object(dataset.facets.clone()).to_string().len() > MOST_FACET_BYTES {
                return Err(EventError::Facets);
            }
        }
        Ok(())
    }

    /// Origin and destination of every flow of data the event tells of.
    pub fn edges(&self) -> Vec<(String, String)> {
        let job = self.job.id();
        let ins = self.inputs.iter().map(|dataset| (dataset.node.id(), job.clone()));
        let outs = self.outputs.iter().map(|dataset| (job.clone(), dataset.node.id()));
        ins.chain(outs).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The event as OpenLineage 2-0-2 writes it.
    pub fn open_lineage(&self, at: &str) -> Value {
        let datasets = |list: &[Dataset]| -> Vec<Value> {
            list.iter()
                .map(|d| json!({ "namespace": d.node.namespace, "name": d.node.name, "facets": d.facets }))
                .collect()
        };
        json!({
            "eventType": self.state.name(),
            "eventTime": at,
            "run": { "runId": self.run_id, "facets": {} },
            "job": { "namespace": self.job.namespace, "name": self.job.name, "facets": {} },
            "inputs": datasets(&self.inputs),
            "outputs": datasets(&self.outputs),
            "producer": self.producer,
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        })
    }
}

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards what the node was made of.
    Upstream,
    /// Towards what was made of it.
    Downstream,
}

/// Origin and destination of an arrow, as node ids.
pub type Edge = (String, String);

/// A breadth-first walk, one level at a time: the caller fetches the edges of a level.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    pub nodes: BTreeSet<String>,
    pub edges: BTreeSet<Edge>,
    /// More nodes than [`MOST_NODES`] belong to the answer.
    pub truncated: bool,
}

impl Walk {
    pub fn from(start: &str) -> Self {
        Self { nodes: BTreeSet::from([start.to_owned()]), ..Self::default() }
    }

    /// Takes the edges of a level and returns the nodes that are new, which are the next level.
    pub fn step(&mut self, direction: Direction, edges: Vec<Edge>) -> Vec<String> {
        let mut fresh = Vec::new();
        for (origin, destination) in edges {
            let next = match direction {
                Direction::Upstream => &origin,
                Direction::Downstream => &destination,
            };
            if !self.nodes.contains(next) {
                if self.nodes.len() >= MOST_NODES {
                    self.truncated = true;
                    continue;
                }
                self.nodes.insert(next.clone());
                fresh.push(next.clone());
            }
            self.edges.insert((origin, destination));
        }
        fresh
    }

    /// Edges by node: those that end there and those that begin there.
    pub fn by_node(&self) -> BTreeMap<&str, (Vec<&Edge>, Vec<&Edge>)> {
        let mut sorted: BTreeMap<&str, (Vec<_>, Vec<_>)> = BTreeMap::new();
        for edge in &self.edges {
            sorted.entry(edge.1.as_str()).or_default().0.push(edge);
            sorted.entry(edge.0.as_str()).or_default().1.push(edge);
        }
        sorted
    }
}
