//! Requests that a proxy and the server behind it could read in two ways.

use crate::corpus::{self, Tier};
use crate::lane::{Lane, count, read_by_hyper, unread};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_in_two_ways_is_refused() {
    let site = Site::start().await;
    let lane = Lane::new(&site, "acme");
    let mut wrong = Vec::new();
    let (mut severe, mut others, mut refused) = (0, 0, 0);
    for case in corpus::cases() {
        let bytes = case.bytes(&lane);
        let read = read_by_hyper(&bytes).await;
        let is_severe = case.tier() == Tier::Severe;
        let (answer, closed) = lane.send(&bytes, if is_severe { usize::MAX } else { read.len() }).await;
        let passed = lane.seen();
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or("no answer").to_owned();
        if is_severe {
            severe += 1;
            if !passed.is_empty() || !closed || count(&answer) != 1 || !line.starts_with("HTTP/1.1 4") {
                wrong.push(format!("severe {:?}: {line}, closed: {closed}, the cell saw {passed:?}", case.name));
            }
            continue;
        }
        others += 1;
        refused += usize::from(passed.is_empty());
        if case.tier() == Tier::Compliant && line.contains(" 400 ") {
            println!("    refused though compliant: {:?}: {line}", case.name);
        }
        let unread = unread(passed, &read);
        if !unread.is_empty() {
            wrong.push(format!("{:?} {:?}: the cell saw {unread:?}, hyper {read:?}", case.tier(), case.name));
        }
    }
    println!("    {severe} severe, {} of them wrong; {others} others, {refused} of them refused", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
