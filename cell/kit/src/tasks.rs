//! Background tasks: every one has a name and a failure policy, and all end in one drain.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What happens when a task ends before the process was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The process is useless without it: it ends, and its supervisor starts it again.
    EndProcess,
    /// The task is one errand; its end is no news.
    Once,
}

/// A task's own word on how it ended.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A task ended the process.
#[derive(Debug, thiserror::Error)]
#[error("task {name} ended: {reason}")]
pub struct TaskFailure {
    pub name: String,
    pub reason: String,
}

/// Handle to the process's tasks; clones share them.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    failures: mpsc::Sender<TaskFailure>,
}

/// Receives the first task failure; held by the host alone.
#[derive(Debug)]
pub struct Failures(mpsc::Receiver<TaskFailure>);

impl Failures {
    /// Resolves when a task with [`Policy::EndProcess`] has ended.
    pub async fn next(&mut self) -> Option<TaskFailure> {
        self.0.recv().await
    }
}

impl Tasks {
    pub fn new() -> (Self, Failures) {
        // One failure ends the process; later ones have nobody left to tell.
        let (failures, receiver) = mpsc::channel(16);
        (Self { tracker: TaskTracker::new(), stopping: CancellationToken::new(), failures }, Failures(receiver))
    }

    /// Tasks of one part of the process, which can be drained before the others; they stop with the process at the latest.
    pub fn part(&self) -> Self {
        let (tracker, failures) = (TaskTracker::new(), self.failures.clone());
        Self { tracker, stopping: self.stopping.child_token(), failures }
    }

    /// Cancelled when the process was asked to stop. Tasks watch it and end by themselves.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.child_token()
    }

    pub fn spawn<F>(&self, name: impl Into<String>, policy: Policy, task: F)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (name, stopping, failures) = (name.into(), self.stopping.clone(), self.failures.clone());
        self.tracker.spawn(async move {
            // A panic must count as a failure too, so the task runs in its own join handle.
            let reason = match tokio::spawn(task).await {
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(error)) => crate::fault::chain(error.as_ref()),
                Err(join) => join.to_string(),
            };
            if stopping.is_cancelled() {
                return;
            }
            match policy {
                Policy::EndProcess => {
                    tracing::error!(task = name, reason, "task ended");
                    if failures.try_send(TaskFailure { name, reason }).is_err() {
                        tracing::debug!("the process is ending already");
                    }
                }
                Policy::Once => tracing::debug!(task = name, reason, "task ended"),
            }
        });
    }

    /// Does `work` again and again, `pause` apart. A failure is told and tried again: what it needs may be
    /// away for a while, and a process that ends because of it would only come back more slowly.
    pub fn every<S, W, F, E>(&self, name: &'static str, pause: Duration, state: &S, work: W)
    where
        S: Clone + Send + 'static,
        W: Fn(S) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error,
    {
        let (state, stopping) = (state.clone(), self.stopping());
        self.spawn(name, Policy::EndProcess, async move {
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    done = work(state.clone()) => if let Err(error) = done {
                        tracing::warn!(job = name, error = %crate::fault::chain(&error), "job failed; it will be tried again");
                    },
                }
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
    }

    /// Asks every task to stop and waits for them. Answers whether all ended in time.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.stopping.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

/// Resolves on SIGTERM or SIGINT.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_that_matters_ends_the_process() {
        let (tasks, mut failures) = Tasks::new();
        tasks.spawn("doomed", Policy::EndProcess, async { panic!("gone") });
        assert_eq!(failures.next().await.unwrap().name, "doomed");
    }

    #[tokio::test]
    async fn a_part_stops_alone_or_with_the_whole() {
        let (tasks, mut failures) = Tasks::new();
        let (first, second) = (tasks.part(), tasks.part());
        for part in [&first, &second] {
            let stopping = part.stopping();
            part.spawn("waits", Policy::EndProcess, async move {
                stopping.cancelled().await;
                Ok(())
            });
        }
        assert!(first.drain(Duration::from_secs(5)).await);
        assert!(!second.stopping().is_cancelled());
        second.spawn("doomed", Policy::EndProcess, async { panic!("gone") });
        assert_eq!(failures.next().await.unwrap().name, "doomed");
        tasks.drain(Duration::ZERO).await;
        assert!(second.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_job_that_failed_is_tried_again_and_ends_with_the_process() {
        let (tasks, mut failures) = Tasks::new();
        let (told, mut heard) = mpsc::channel(1);
        tasks.every("stubborn", Duration::ZERO, &told, |told| async move {
            told.send(()).await.map_err(|_| std::fmt::Error)?;
            Err(std::fmt::Error)
        });
        assert_eq!((heard.recv().await, heard.recv().await), (Some(()), Some(())));
        assert!(tasks.drain(Duration::from_secs(5)).await);
        drop((tasks, told));
        assert!(failures.next().await.is_none());
    }

    #[tokio::test]
    async fn a_drain_waits_for_tasks_and_their_end_is_no_failure() {
        let (tasks, mut failures) = Tasks::new();
        let stopping = tasks.stopping();
        let (done, mut farewell) = tokio::sync::oneshot::channel();
        tasks.spawn("patient", Policy::EndProcess, async move {
            stopping.cancelled().await;
            tokio::task::yield_now().await;
            done.send("done").map_err(Into::into)
        });
        assert!(tasks.drain(Duration::from_secs(60)).await);
        assert_eq!(farewell.try_recv(), Ok("done"));
        drop(tasks);
        assert!(failures.next().await.is_none());
    }
}
