//! HTTP/2 as RFC 9113 has it, by the cases of `httpwg`.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::fetched;
use crate::site::Site;

/// Cases in which the router ends the connection as it must, but calls the reason `PROTOCOL_ERROR` where a narrower word
/// is wanted. That is pingora's; one that is mended must leave this list.
const OTHERWISE_CALLED: [&str; 14] = [
    "RFC 9113 :: 4. http frames :: invalid header block fragment",
    "RFC 9113 :: 5. streams and multiplexing :: closed sends headers frame",
    "RFC 9113 :: 5. streams and multiplexing :: closed sends headers frame after rst stream",
    "RFC 9113 :: 5. streams and multiplexing :: half closed remote sends data frame",
    "RFC 9113 :: 5. streams and multiplexing :: half closed remote sends headers frame",
    "RFC 9113 :: 6. frame definitions :: sends data frame on invalid stream state",
    "RFC 9113 :: 6. frame definitions :: sends ping frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends priority frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends rst stream frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends settings frame with ack and payload",
    "RFC 9113 :: 6. frame definitions :: sends settings frame with invalid length",
    "RFC 9113 :: 6. frame definitions :: sends settings initial window size with exceeded max window size value",
    "RFC 9113 :: 6. frame definitions :: sends settings initial window size with invalid value",
    "RFC 9113 :: 6. frame definitions :: sends window update frame with invalid length",
];
/// Cases that want the stream or the connection ended. It is answered: with a refusal, or as if the frame, the trailer or
/// the blank around a value were not there.
const ANSWERED: [&str; 6] = [
    "RFC 9113 :: 8. expressing http semantics in http2 :: client sends push promise frame",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends connect without authority",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with leading space in field value",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with mismatched host authority",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer",
    "RFC 9113 :: 8. expressing http semantics in http2 :: sends headers frame with trailing tab in field value",
];
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
    let known: BTreeSet<String> = OTHERWISE_CALLED.iter().chain(&ANSWERED).map(|name| (*name).to_owned()).collect();
    assert_eq!(failed, known, "{said}");
}
