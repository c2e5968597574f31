//! Thousands of clients that send and read slowly, beside some that do not: `slowhttptest`.

use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;

use crate::fetched;
use crate::site::{PATIENCE, Site};
use crate::tokens::token;

/// Slow clients at the same time.
const SOCKETS: &str = "4000";
/// New ones a second.
const PER_SECOND: &str = "1000";
const SECONDS: &str = "30";
/// Good clients, and how long each waits between two requests.
const GOOD: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// `slowhttptest` in one mode, and what good clients were answered meanwhile: all, and those not well.
async fn beside(mode: &[&str], verb: &str) -> (usize, usize) {
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 10000").await;
    let bearer = token("acme");
    // Its headers are not its own to choose but for one, which takes the others along.
    let accept = format!("*/*\r\nAuthorization: Bearer {bearer}");
    let slow = tokio::process::Command::new(fetched("CYTO_SLOWHTTPTEST"))
        .args(mode)
        .args(["-c", SOCKETS, "-r", PER_SECOND, "-l", SECONDS, "-i", "5", "-p", "3", "-t", verb, "-m", &accept, "-u"])
        .arg(site.url("acme.localhost", "/echo"))
        .args(["-d", &site.router().http.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut slow = slow.unwrap();
    let (over, ended) = tokio::sync::watch::channel(false);
    let client = site.client().pool_max_idle_per_host(1).build().unwrap();
    // Another tenant: what one of them uses up of its own allowance is its own.
    let (url, bearer) = (site.url("globex.localhost", "/"), token("globex"));
    let good = join_all((0..GOOD).map(|number| {
        let (client, url, bearer, ended) = (client.clone(), url.clone(), bearer.clone(), ended.clone());
        async move {
            let (mut all, mut wrong) = (0, 0);
            let mut beat = tokio::time::interval(PAUSE);
            while !*ended.borrow() {
                beat.tick().await;
                // Half of them come on a connection of their own each time.
                let close = if number % 2 == 0 { "close" } else { "keep-alive" };
                let asked = client.get(&url).bearer_auth(&bearer).header("connection", close);
                all += 1;
                wrong += usize::from(!matches!(asked.send().await, Ok(answer) if answer.status() == 200));
            }
            (all, wrong)
        }
    }));
    let watched = async {
        let status = tokio::time::timeout(PATIENCE * 3, slow.wait()).await.expect("slowhttptest does not end").unwrap();
        over.send_replace(true);
        status
    };
    let (status, counts) = tokio::join!(watched, good);
    assert!(status.success(), "slowhttptest: {status}");
    counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

async fn holds(mode: &[&str], verb: &str) {
    let (all, wrong) = beside(mode, verb).await;
    println!("    {mode:?}: {wrong} of {all} good requests were not answered well");
    assert!(all > 1_000, "only {all} good requests");
    assert!(wrong * 1_000 <= all, "{wrong} of {all} good requests were not answered well");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers() {
    holds(&["-H"], "GET").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies() {
    holds(&["-B", "-s", "8192"], "POST").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers() {
    holds(&["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"], "GET").await;
}
