//! Execution away from the callers' threads: a busy statement must not stop the process from
//! answering others.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt};
use thread_priority::unix::{
    NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Error, Result};

/// Where threads stand between the last (0) and the first (99); those that answer requests stand in the middle. What is
/// long gives way to what is short, and both to those.
const SHORT: u8 = 40;
const LONG: u8 = 10;
/// Batches computed ahead of the reader.
const AHEAD: usize = 2;
/// A statement keeps its thread for a whole batch. With more threads than cores it is the kernel that shares the cores.
const THREADS_PER_CORE: usize = 8;

/// Threads of their own for planning and execution: some for what takes milliseconds, others for what takes as long as
/// it takes.
#[derive(Debug)]
pub(crate) struct Workers {
    pub short: Lane,
    pub long: Lane,
}

impl Workers {
    pub fn start(cores: usize) -> Result<Self> {
        Ok(Self { short: Lane::start("query", cores, SHORT)?, long: Lane::start("long query", cores, LONG)? })
    }
}

/// Threads that stand at one place.
#[derive(Debug)]
pub(crate) struct Lane {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Lane {
    fn start(name: &str, cores: usize, place: u8) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.max(1) * THREADS_PER_CORE)
            .thread_name(name)
            .on_thread_start(move || stand(place))
            .enable_all()
            .build()
            .map_err(|error| Error::Engine(Box::new(error)))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs one step and waits for it; the step stops when the caller goes away.
    pub async fn run<F>(&self, step: F) -> Result<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut task = AbortOnDrop(self.handle.spawn(step));
        (&mut task.0).await.map_err(|error| Error::Engine(Box::new(error)))
    }

    /// Hands a stream's batches over, `AHEAD` of their reader, until `time` is over.
    pub fn stream(&self, mut rows: SendableRecordBatchStream, schema: SchemaRef, time: Duration) -> Rows {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (shape, deadline) = (Arc::clone(&schema), Instant::now() + time);
        let task = self.handle.spawn(async move {
            loop {
                let next = match tokio::time::timeout_at(deadline, rows.next()).await {
                    Ok(None) => Step::End,
                    Ok(Some(batch)) => Step::from(batch.map_err(Error::from).and_then(|batch| reshape(&shape, batch))),
                    Err(_) => Step::Failed(Error::Timeout(time)),
                };
                let last = !matches!(next, Step::Batch(_));
                if sender.send(next).await.is_err() || last {
                    return;
                }
            }
        });
        Rows { schema, receiver, ended: false, _task: AbortOnDrop(task) }
    }
}

/// Requests of others, and what they wait for, come before any statement's computing.
fn stand(place: u8) {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let lowered = ThreadPriorityValue::try_from(place)
        .map(|place| set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(place), policy));
    if !matches!(lowered, Ok(Ok(()))) {
        tracing::debug!("a query thread stays at the priority of the others");
    }
}

/// What the workers hand over. An end is said, not implied: a channel that merely closes means
/// that a task died, and its rows must not pass for all rows.
enum Step {
    Batch(RecordBatch),
    Failed(Error),
    End,
}

impl From<Result<RecordBatch>> for Step {
    fn from(result: Result<RecordBatch>) -> Self {
        match result {
            Ok(batch) => Step::Batch(batch),
            Err(error) => Step::Failed(error),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A plain drop would wait for the threads, which is not allowed inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives a batch the advertised schema: a strict client refuses a batch whose schema differs.
fn reshape(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|error| Error::Engine(Box::new(error)))
}

/// A running statement's rows. Dropping it stops the statement and frees its memory.
pub struct Rows {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Step>,
    ended: bool,
    _task: AbortOnDrop<()>,
}

impl Rows {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let step = ready!(self.receiver.poll_recv(context));
        self.ended = !matches!(step, Some(Step::Batch(_)));
        Poll::Ready(match step {
            Some(Step::Batch(batch)) => Some(Ok(batch)),
            Some(Step::Failed(error)) => Some(Err(error)),
            Some(Step::End) => None,
            None => Some(Err(Error::Engine("the statement's task died".into()))),
        })
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}
