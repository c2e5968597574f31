//! What passes the router is what another server reads in the same bytes, however they are spoilt.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::lane::{Lane, read_by_hyper, unread};
use crate::peer::Seen;
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

/// Whole requests, one or several; `@` is the token, and every path begins with the seed.
fn good(host: &str, seed: u64) -> Vec<Vec<u8>> {
    let head = format!("Host: {host}\r\nAuthorization: @\r\n");
    let inner = format!("GET /{seed}/smuggled HTTP/1.1\r\n{head}\r\n");
    let length = inner.len() + "Bearer ".len();
    let next = format!("GET /{seed}/next?q=1 HTTP/1.1\r\n{head}\r\n");
    [
        format!("POST /{seed}/length HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{inner}{next}"),
        format!("POST /{seed}/short HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nhello{next}"),
        format!("POST /{seed}/chunks HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{next}"),
        format!(
            "PUT /{seed}/chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{head}\r\n5;a=b\r\nhello\r\n1F\r\nGET /{seed}/smuggled HTTP/1.1\r\nHost: x\r\n0\r\nX-Trailer: 1\r\n\r\n{next}"
        ),
        format!("{next}{next}{next}"),
        format!("GET http://{host}/{seed}/absolute HTTP/1.1\r\n{head}\r\n{next}"),
        format!("HEAD /{seed}/head HTTP/1.1\r\n{head}\r\nDELETE /{seed}/gone HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n{next}"),
        format!("POST /{seed}/old HTTP/1.0\r\n{head}Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello{next}"),
        format!("POST /{seed}/expected HTTP/1.1\r\n{head}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{next}"),
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

/// The same for the same seed.
fn made(host: &str, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let good = good(host, seed);
    let mut bytes = good[random.random_range(0..good.len())].clone();
    for _ in 0..random.random_range(0..=3) {
        spoil(&mut bytes, &mut random);
    }
    bytes
}

/// What was sent, for one that was read otherwise.
fn told(host: &str, seen: &Seen) -> String {
    let seed = seen.path.split('/').find_map(|part| part.parse().ok());
    let sent = seed.map(|seed| String::from_utf8_lossy(&made(host, seed)).into_owned());
    format!("{seen:?} of {sent:?}")
}

/// What passed and what was read, of all cases: each has its seed in its paths.
async fn drive(lane: &Lane, seeds: std::ops::Range<u64>) -> (Vec<Seen>, Vec<Seen>) {
    let mut read_in_all = Vec::new();
    for seed in seeds {
        let sent = lane.with_token(&made(&lane.host, seed));
        let read = read_by_hyper(&sent).await;
        lane.send(&sent, read.len()).await;
        read_in_all.extend(read);
    }
    (lane.seen(), read_in_all)
}

#[tokio::test(flavor = "multi_thread")]
async fn spoilt_requests_are_refused_or_read_alike() {
    let cases = std::env::var("CYTO_MUTATIONS").ok().map_or(CASES, |text| text.parse().expect("a number"));
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 1000").await;
    let (acme, globex) = (Lane::new(&site, "acme"), Lane::new(&site, "globex"));
    let lanes = tokio::join!(drive(&acme, 0..cases), drive(&globex, cases..2 * cases));
    let (mut passed_in_all, mut wrong) = (0, Vec::new());
    for (lane, (passed, read)) in [(&acme, lanes.0), (&globex, lanes.1)] {
        passed_in_all += passed.len() as u64;
        wrong.extend(unread(passed, &read).iter().map(|seen| told(&lane.host, seen)));
    }
    println!("    {} connections, {passed_in_all} requests passed, {} of them read otherwise", 2 * cases, wrong.len());
    assert!(passed_in_all > cases, "too few passed for this to say anything: {passed_in_all}");
    assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(20)]);
}
