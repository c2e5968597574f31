//! What passes the router is what another server reads in the same bytes, however they are spoilt.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::lane::{Lane, agrees, read_by_hyper};
use crate::site::Site;

/// Requests of each of two lanes; `CYTO_MUTATIONS` says otherwise.
const CASES: u64 = 10_000;

/// What is put between other bytes.
const PIECES: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x0c",
    b"\xa0",
    b"\xff",
    b"_",
    b"+",
    b"-",
    b"0x",
    b"0",
    b"00000000000000000000",
    b"18446744073709551617",
    b"\"",
    b"chunked",
    b"identity",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"\r\nTransfer-Encoding:\n chunked",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n",
];

/// Whole requests, one or several; `@` is the token.
fn good(host: &str) -> Vec<Vec<u8>> {
    let head = format!("Host: {host}\r\nAuthorization: @\r\n");
    let inner = format!("GET /smuggled HTTP/1.1\r\n{head}\r\n");
    let length = inner.len() + "Bearer ".len();
    let next = format!("GET /next?q=1 HTTP/1.1\r\n{head}\r\n");
    [
        format!("POST /length HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{inner}{next}"),
        format!("POST /short HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nhello{next}"),
        format!("POST /chunks HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{next}"),
        format!(
            "PUT /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{head}\r\n5;a=b\r\nhello\r\n1F\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n0\r\nX-Trailer: 1\r\n\r\n{next}"
        ),
        format!("{next}{next}{next}"),
        format!("GET http://{host}/absolute HTTP/1.1\r\n{head}\r\n{next}"),
        format!("HEAD /head HTTP/1.1\r\n{head}\r\nDELETE /gone HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n{next}"),
        format!("POST /old HTTP/1.0\r\n{head}Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello{next}"),
        format!("POST /expected HTTP/1.1\r\n{head}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{next}"),
        format!("OPTIONS * HTTP/1.1\r\n{head}\r\n{next}"),
    ]
    .map(String::into_bytes)
    .into()
}

fn spoil(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..bytes.len());
    let line_of = |at: usize| {
        let begin = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
        begin..end
    };
    match random.random_range(0..8) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => drop(bytes.remove(at)),
        2 => {
            let line = bytes[line_of(at)].to_vec();
            bytes.splice(at..at, line);
        }
        3 => drop(bytes.drain(line_of(at))),
        4 => {
            let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                bytes[digits[random.random_range(0..digits.len())]] = b'0' + random.random_range(0..10u8);
            }
        }
        5 => {
            // In front of a line, where another header would stand.
            let begin = line_of(at).start;
            let piece = PIECES[random.random_range(0..PIECES.len())];
            bytes.splice(begin..begin, piece.iter().copied());
        }
        6 => {
            let colons: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b':').collect();
            if !colons.is_empty() {
                let beside = colons[random.random_range(0..colons.len())] + random.random_range(0..2usize);
                let piece = PIECES[random.random_range(0..PIECES.len())];
                bytes.splice(beside..beside, piece.iter().copied());
            }
        }
        _ => {
            let piece = PIECES[random.random_range(0..PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
    if bytes.is_empty() {
        bytes.push(b'G');
    }
}

/// How many requests passed, and what was not read alike.
async fn drive(lane: &Lane, seeds: std::ops::Range<u64>) -> (usize, Vec<String>) {
    let good = good(&lane.host);
    let (mut passed_in_all, mut wrong) = (0, Vec::new());
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = good[random.random_range(0..good.len())].clone();
        for _ in 0..random.random_range(0..=3) {
            spoil(&mut bytes, &mut random);
        }
        let sent = lane.with_token(&bytes);
        let (_, passed) = lane.send(&sent).await;
        passed_in_all += passed.len();
        let read = read_by_hyper(&sent).await;
        if !agrees(&passed, &read) {
            wrong.push(format!(
                "seed {seed}: {:?}\n  passed {passed:?}\n  read   {read:?}",
                String::from_utf8_lossy(&bytes)
            ));
        }
    }
    (passed_in_all, wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn spoilt_requests_are_refused_or_read_alike() {
    let cases = std::env::var("CYTO_MUTATIONS").ok().map_or(CASES, |text| text.parse().expect("a number"));
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 1000").await;
    let (acme, globex) = (Lane::new(&site, "acme"), Lane::new(&site, "globex"));
    let (first, second) = tokio::join!(drive(&acme, 0..cases), drive(&globex, cases..2 * cases));
    let wrong = [first.1, second.1].concat();
    let passed = first.0 + second.0;
    println!("    {} connections, {passed} requests passed, {} connections not read alike", 2 * cases, wrong.len());
    assert!(passed as u64 > cases / 2, "too few passed for this to say anything: {passed}");
    assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(20)].join("\n"));
}
