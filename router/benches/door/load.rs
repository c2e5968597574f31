//! Clients: HTTP/1.1 connections that stay, one request at a time on each. Every answer is checked.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ground::Ground;
use crate::proxies::Running;

pub struct Request {
    bytes: Vec<u8>,
    /// The cell that must answer; `None` where nothing but a refusal is right.
    cell: Option<&'static str>,
}

impl Request {
    pub fn new(host: &str, token: &str, cell: Option<&'static str>) -> Self {
        let head = format!("GET /api/v1/datasets HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
        Self { bytes: format!("{head}accept: application/json\r\nuser-agent: bench\r\n\r\n").into_bytes(), cell }
    }
}

/// What came of a load.
#[derive(Default)]
pub struct Done {
    pub requests: u64,
    pub took: Duration,
    /// From the last byte sent to the whole answer, µs, sorted.
    pub waits: Vec<u32>,
}

impl Done {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// µs.
    pub fn wait(&self, share: f64) -> f64 {
        let at = ((self.waits.len() as f64 - 1.0).max(0.0) * share).round() as usize;
        self.waits.get(at).copied().map_or(f64::NAN, f64::from)
    }
}

#[derive(Clone, Copy)]
pub struct Load<'a> {
    to: SocketAddr,
    requests: &'a [Request],
    /// Whether any cell's answer will do.
    anywhere: bool,
}

impl<'a> Load<'a> {
    pub fn of(ground: &'a Ground, proxy: &Running) -> Self {
        let requests = if proxy.kind.refuses() { &ground.refused } else { &ground.requests };
        Self { to: proxy.address, requests, anywhere: proxy.kind.is_bare() }
    }

    /// Straight to a cell.
    pub fn direct(ground: &'a Ground) -> Self {
        Self { to: ground.cells[0].plain, requests: &ground.requests, anywhere: true }
    }

    /// As fast as the answers come.
    pub async fn closed(self, connections: usize, time: Duration) -> Done {
        self.run(connections, time, None).await
    }

    /// At `rate` requests a second altogether.
    pub async fn paced(self, connections: usize, rate: f64, time: Duration) -> Done {
        self.run(connections, time, Some(Duration::from_secs_f64(connections as f64 / rate))).await
    }

    /// Connections that have had an answer, and wait.
    pub async fn hold(self, connections: usize) -> Vec<TcpStream> {
        let mut held = Vec::with_capacity(connections);
        let mut block = vec![0; 8 * 1024];
        for at in 0..connections {
            let mut stream = TcpStream::connect(self.to).await.unwrap();
            self.exchange(&mut stream, &self.requests[at % self.requests.len()], &mut block).await.unwrap();
            held.push(stream);
        }
        held
    }

    /// Whether the first request is answered as it must be.
    pub async fn answers(self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.to).await else { return false };
        let mut block = vec![0; 8 * 1024];
        self.exchange(&mut stream, &self.requests[0], &mut block).await.is_ok_and(|right| right)
    }

    async fn run(self, connections: usize, time: Duration, pause: Option<Duration>) -> Done {
        let done = Rc::new(RefCell::new(Done::default()));
        let begun = Instant::now();
        let clients = (0..connections).map(|seed| {
            let first = pause.map(|pause| pause.mul_f64(seed as f64 / connections as f64));
            self.client(seed as u64, begun + time, first.zip(pause), done.clone())
        });
        futures::future::join_all(clients).await;
        let mut done = done.take();
        done.took = begun.elapsed();
        done.waits.sort_unstable();
        done
    }

    async fn client(self, seed: u64, until: Instant, pace: Option<(Duration, Duration)>, done: Rc<RefCell<Done>>) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut stream = TcpStream::connect(self.to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut block = vec![0; 8 * 1024];
        let mut due = tokio::time::Instant::now() + pace.map_or(Duration::ZERO, |(first, _)| first);
        while Instant::now() < until {
            if let Some((_, pause)) = pace {
                tokio::time::sleep_until(due).await;
                due += pause;
            }
            let request = &self.requests[random.random_range(0..self.requests.len())];
            let sent = Instant::now();
            let right = self.exchange(&mut stream, request, &mut block).await.unwrap();
            assert!(right || request.cell.is_none(), "a wrong answer");
            let mut done = done.borrow_mut();
            done.requests += 1;
            done.waits.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Whether the answer is the one that is due.
    async fn exchange(self, stream: &mut TcpStream, request: &Request, block: &mut [u8]) -> std::io::Result<bool> {
        stream.write_all(&request.bytes).await?;
        let mut held = 0;
        loop {
            let read = stream.read(&mut block[held..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            held += read;
            let Some(answer) = Answer::whole(&block[..held]) else { continue };
            return Ok(match request.cell {
                Some(cell) => answer.status == 200 && (self.anywhere || answer.body == cell.as_bytes()),
                None => answer.status == 429,
            });
        }
    }
}

struct Answer<'a> {
    status: u16,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    fn whole(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).expect("a header");
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let body = bytes.get(end + 4..end + 4 + length.expect("an answer of a known length"))?;
        Some(Self { status, body })
    }
}
