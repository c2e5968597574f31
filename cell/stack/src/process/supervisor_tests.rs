use super::*;
use crate::process::Probe;

fn ready_at_once() -> Probe {
    Arc::new(|| Box::pin(async { Ok(()) }))
}

fn never_ready() -> Probe {
    Arc::new(|| Box::pin(async { Err("not yet".to_owned()) }))
}

fn supervisor() -> (tempfile::TempDir, Supervisor) {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(&dir.path().join("run"), &dir.path().join("log")).unwrap();
    (dir, supervisor)
}

#[tokio::test]
async fn a_process_runs_until_it_is_stopped() {
    let (dir, supervisor) = supervisor();
    let identity = supervisor.start(Spec::new("sleeper", "sleep", ready_at_once()).args(["60"])).await.unwrap();
    assert!(identity.is_alive());
    assert_eq!(Identity::read(&dir.path().join("run/sleeper.pid")), Some(identity));
    supervisor.stop_all().await;
    assert!(!identity.is_alive());
    assert!(!dir.path().join("run/sleeper.pid").exists());
}

#[tokio::test]
async fn a_death_before_readiness_tells_the_last_words() {
    let (_dir, supervisor) = supervisor();
    let spec = Spec::new("doomed", "sh", never_ready()).args(["-c", "echo FATAL: no room; exit 7"]);
    let error = supervisor.start(spec).await.unwrap_err().to_string();
    assert!(error.contains("doomed") && error.contains("exit code 7") && error.contains("FATAL: no room"), "{error}");
}

#[tokio::test]
async fn a_process_that_is_never_ready_is_ended() {
    let (_dir, supervisor) = supervisor();
    let mut spec = Spec::new("slow", "sleep", never_ready()).args(["60"]);
    spec.deadline = Duration::from_millis(200);
    assert!(matches!(supervisor.start(spec).await, Err(Error::NotReady { .. })));
    assert!(supervisor.processes().is_empty());
}

#[tokio::test]
async fn an_unexpected_end_is_noticed_and_an_asked_one_is_not() {
    let (_dir, supervisor) = supervisor();
    supervisor.start(Spec::new("calm", "sleep", ready_at_once()).args(["60"])).await.unwrap();
    let doomed = supervisor.start(Spec::new("doomed", "sleep", ready_at_once()).args(["60"])).await.unwrap();
    supervisor.stop("calm").await;
    doomed.signal(Signal::SIGKILL);
    let death = tokio::time::timeout(Duration::from_secs(60), supervisor.death()).await.unwrap();
    assert_eq!((death.process.as_str(), death.status.as_str()), ("doomed", "signal 9"));
}

#[tokio::test]
async fn a_killed_process_starts_again() {
    let (_dir, supervisor) = supervisor();
    let first = supervisor.start(Spec::new("phoenix", "sleep", ready_at_once()).args(["60"])).await.unwrap();
    assert!(supervisor.kill("phoenix").await);
    assert!(!first.is_alive());
    let second = supervisor.start_again("phoenix").await.unwrap();
    assert!(second.is_alive() && second != first);
}

#[tokio::test]
async fn nothing_outlives_the_supervisor() {
    let (_dir, supervisor) = supervisor();
    let identity = supervisor.start(Spec::new("orphan", "sleep", ready_at_once()).args(["60"])).await.unwrap();
    drop(supervisor);
    assert!(identity.gone_within(Duration::from_secs(60)).await);
}
