//! Requests that a proxy and the server behind it could read in two ways.

use crate::corpus::{self, Tier};
use crate::lane::{Lane, agrees, read_by_hyper};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_in_two_ways_is_refused() {
    let site = Site::start().await;
    let lane = Lane::new(&site, "acme");
    let mut wrong = Vec::new();
    let (mut severe, mut others, mut refused) = (0, 0, 0);
    for case in corpus::cases() {
        let bytes = case.bytes(&lane);
        let (answer, passed) = lane.send(&bytes).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let line = answer.lines().next().unwrap_or("no answer").to_owned();
        let is_refused = passed.is_empty();
        if case.tier() == Tier::Severe {
            severe += 1;
            let answers = answer.matches("HTTP/1.1 ").count();
            if !is_refused || answers != 1 || !line.starts_with("HTTP/1.1 4") {
                wrong.push(format!("severe {:?}: {line}, {answers} answers, the cell saw {passed:?}", case.name));
            }
            continue;
        }
        others += 1;
        refused += usize::from(is_refused);
        let read = read_by_hyper(&bytes).await;
        if !agrees(&passed, &read) {
            wrong.push(format!("{:?} {:?}: the cell saw {passed:?}, hyper {read:?}", case.tier(), case.name));
        }
        if case.tier() == Tier::Compliant && is_refused {
            println!("    refused though compliant: {:?}: {line}", case.name);
        }
    }
    println!("    {severe} severe, {} of them wrong; {others} others, {refused} of them refused", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
