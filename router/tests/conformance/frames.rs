//! HTTP/2 as RFC 9113 has it, by the cases of `httpwg`.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::fetched;
use crate::site::Site;

/// Cases that the router fails. One that is mended must leave this list.
const FAILING: [&str; 0] = [];
/// Longest wait for one frame, milliseconds: a busy machine is no failure.
const PATIENCE_MS: &str = "5000";

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_of_httpwg() {
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 1000").await;
    let ran = tokio::process::Command::new(fetched("CYTO_HTTPWG"))
        .args(["--frame-timeout", PATIENCE_MS, "--connect-timeout", PATIENCE_MS, "--address"])
        .arg(site.router().http.to_string())
        .env("SEQUENTIAL", "1")
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    let named = |mark: &str| -> BTreeSet<String> {
        said.lines().filter_map(|line| line.split_once(mark)).map(|(_, name)| name.trim().to_owned()).collect()
    };
    let (passed, failed) = (named("Test passed: "), named("Test failed: "));
    println!("    {} of {} passed", passed.len(), passed.len() + failed.len());
    assert!(passed.len() + failed.len() > 100, "it did not run: {said}");
    let known = FAILING.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(failed, known, "{said}");
}
