//! Watches the bytes of a connection for where headers begin and end. Pure: the clock is given.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::chunks::{BadChunk, Chunks};

/// Limits of a connection's headers.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Longest wait for the first byte of a request.
    pub idle: Duration,
    /// Total time of one header, first byte to last.
    pub header_time: Duration,
    pub header_bytes: usize,
}

/// How a connection broke its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("no request came in time")]
    Idle,
    #[error("the header did not end in time")]
    SlowHeader,
    #[error("the header is larger than allowed")]
    LargeHeader,
    #[error("where the body ends could be read in two ways")]
    Framing,
}

impl Breach {
    pub fn name(self) -> &'static str {
        match self {
            Breach::Idle => "idle",
            Breach::SlowHeader => "slow_header",
            Breach::LargeHeader => "large_header",
            Breach::Framing => "framing",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waiting for the first byte of a request.
    Waiting {
        since: Instant,
    },
    Header {
        since: Instant,
        scan: Scan,
    },
    /// Past the header: bodies and HTTP/2 frames are bounded elsewhere.
    Open,
    /// In a chunked body.
    Chunks(Chunks),
    /// The request is read whole and not yet answered whole: what comes is the next one's.
    Answering,
}

/// Where in a header the scan stands.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    bytes: usize,
    /// The request line has begun; blank lines before it are skipped.
    begun: bool,
    /// The request line has ended.
    line_over: bool,
    /// Nothing but `\r` yet on the current line.
    blank: bool,
    spaces: u32,
    repaired: bool,
}

/// Shared by the stream that is read and the request that is served.
#[derive(Debug)]
pub struct Guard {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    repaired: bool,
    /// What came in one read with the header's end. Whether it is a chunked body is known when the header is read.
    beyond: Vec<u8>,
}

/// What was found of a header that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderRead {
    /// Its request line holds what pingora escapes instead of refusing.
    pub repaired: bool,
    /// What has come of its chunked body could be read in two ways.
    pub misframed: bool,
}

impl Guard {
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        Self { bounds, state: Mutex::new(State::waiting(now)) }
    }

    /// Bytes have come in.
    pub fn feed(&self, bytes: &[u8], now: Instant) -> Result<(), Breach> {
        let mut state = self.state.lock();
        let (since, mut scan) = match &mut state.phase {
            Phase::Open | Phase::Answering => return Ok(()),
            Phase::Chunks(chunks) => return chunks.feed(bytes).map_err(|BadChunk| Breach::Framing),
            _ if bytes.is_empty() => return Ok(()),
            Phase::Header { since, scan } => (*since, *scan),
            Phase::Waiting { .. } => (now, Scan { blank: true, ..Scan::default() }),
        };
        if now.duration_since(since) > self.bounds.header_time {
            return Err(Breach::SlowHeader);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let line = memchr::memchr(b'\n', rest);
            let (piece, after) = rest.split_at(line.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            let over = scan.step(piece, line.is_some());
            if scan.bytes > self.bounds.header_bytes {
                return Err(Breach::LargeHeader);
            }
            if over {
                *state = State { phase: Phase::Open, repaired: scan.repaired, beyond: rest.to_vec() };
                return Ok(());
            }
        }
        state.phase = Phase::Header { since, scan };
        Ok(())
    }

    /// When the present wait must be over, and what it is a breach of if it is not.
    pub fn deadline(&self) -> Option<(Instant, Breach)> {
        match self.state.lock().phase {
            Phase::Waiting { since } => Some((since + self.bounds.idle, Breach::Idle)),
            Phase::Header { since, .. } => Some((since + self.bounds.header_time, Breach::SlowHeader)),
            Phase::Open | Phase::Chunks(_) | Phase::Answering => None,
        }
    }

    /// pingora has read a header, wherever this scan thinks it is.
    pub fn header_read(&self, is_chunked: bool) -> HeaderRead {
        let mut state = self.state.lock();
        if let Phase::Header { scan, .. } = state.phase {
            state.repaired |= scan.repaired;
        }
        let beyond = std::mem::take(&mut state.beyond);
        let mut chunks = Chunks::new();
        let misframed = is_chunked && chunks.feed(&beyond).is_err();
        state.phase = if is_chunked { Phase::Chunks(chunks) } else { Phase::Open };
        HeaderRead { repaired: state.repaired, misframed }
    }

    /// The request has no more bytes.
    pub fn request_read(&self) {
        self.state.lock().phase = Phase::Answering;
    }

    pub fn is_answering(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Answering)
    }

    pub fn request_over(&self, now: Instant) {
        *self.state.lock() = State::waiting(now);
    }
}

impl State {
    fn waiting(now: Instant) -> Self {
        Self { phase: Phase::Waiting { since: now }, repaired: false, beyond: Vec::new() }
    }
}

impl Scan {
    /// Takes a piece of one line, and its end if that `ends` it; `true` when this ends the header.
    fn step(&mut self, piece: &[u8], ends: bool) -> bool {
        self.bytes += piece.len() + usize::from(ends);
        if piece.iter().any(|byte| *byte != b'\r') {
            self.begun = true;
            self.blank = false;
            if !self.line_over {
                self.request_line(piece);
            }
        }
        if !ends || !self.begun {
            return false;
        }
        if self.blank {
            return true;
        }
        if !self.line_over {
            self.line_over = true;
            self.repaired |= self.spaces != 2;
        }
        self.blank = true;
        false
    }

    fn request_line(&mut self, piece: &[u8]) {
        for byte in piece.iter().filter(|byte| **byte != b'\r') {
            self.spaces += u32::from(*byte == b' ');
            let legal = matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'<' | b'>');
            self.repaired |= !legal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(now: Instant) -> Guard {
        let bounds = Bounds { idle: Duration::from_secs(60), header_time: Duration::from_secs(10), header_bytes: 100 };
        Guard::new(bounds, now)
    }

    #[test]
    fn a_dripped_header_has_one_deadline_from_its_first_byte() {
        let start = Instant::now();
        let guard = guard(start);
        assert_eq!(guard.deadline(), Some((start + Duration::from_secs(60), Breach::Idle)));
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 30..=40 {
            guard.feed(b"G", at(second)).unwrap();
            assert_eq!(guard.deadline(), Some((at(40), Breach::SlowHeader)));
        }
        assert_eq!(guard.feed(b"E", at(41)), Err(Breach::SlowHeader));
    }

    #[test]
    fn a_header_ends_at_its_blank_line_however_it_is_cut() {
        let header = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for cut in 1..header.len() {
            let now = Instant::now();
            let guard = guard(now);
            for piece in header.chunks(cut) {
                guard.feed(piece, now).unwrap();
            }
            assert_eq!(guard.deadline(), None, "{cut}");
            assert!(!guard.header_read(false).repaired);
            guard.request_over(now);
            assert!(matches!(guard.deadline(), Some((_, Breach::Idle))));
        }
    }

    #[test]
    fn what_comes_before_the_answer_is_over_is_not_the_header_that_was_read() {
        let now = Instant::now();
        let guard = guard(now);
        guard.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", now).unwrap();
        assert!(!guard.header_read(false).repaired);
        assert!(!guard.is_answering());
        guard.request_read();
        assert!(guard.is_answering());
        assert_eq!(guard.deadline(), None);
        guard.request_over(now);
        assert!(!guard.is_answering());
        guard.feed(b"GET /a b HTTP/1.1\r\n\r\n", now).unwrap();
        assert!(guard.header_read(false).repaired);
    }

    #[test]
    fn a_chunked_body_is_watched_from_its_first_byte() {
        let header = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let now = Instant::now();
        for (beyond, later, misframed, breach) in [
            (&b"5\r\nhel"[..], &b"lo\r\n0\r\n\r\n"[..], false, Ok(())),
            (b"5\r\nhel", b"lo\r\n\r\n", false, Err(Breach::Framing)),
            (b"\r\n", b"", true, Err(Breach::Framing)),
            (b"", b";5\r\n", false, Err(Breach::Framing)),
        ] {
            let guard = guard(now);
            guard.feed(&[header, beyond].concat(), now).unwrap();
            assert_eq!(guard.header_read(true).misframed, misframed, "{beyond:?}");
            if !misframed {
                assert_eq!(guard.feed(later, now), breach, "{later:?}");
            }
        }
        // The same bytes are nothing to a body of a known length.
        let guard = guard(now);
        guard.feed(&[header, &b"\r\n"[..]].concat(), now).unwrap();
        assert!(!guard.header_read(false).misframed && guard.feed(b"\r\n", now).is_ok());
    }

    #[test]
    fn the_http2_preface_opens_the_connection() {
        let now = Instant::now();
        let guard = guard(now);
        guard.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now).unwrap();
        assert_eq!(guard.deadline(), None);
    }

    #[test]
    fn a_large_header_is_a_breach_and_a_large_body_is_not() {
        let now = Instant::now();
        let large = guard(now);
        assert_eq!(large.feed(&[b'x'; 101], now), Err(Breach::LargeHeader));
        let small = guard(now);
        small.feed(b"GET / HTTP/1.1\nHost: a\n\n", now).unwrap();
        small.feed(&[b'x'; 1000], now).unwrap();
    }

    #[test]
    fn lines_that_would_be_repaired_are_told() {
        for (line, repaired) in [
            (&b"GET /a b HTTP/1.1"[..], true),
            (b"GET /a\"b HTTP/1.1", true),
            (b"GET /<a> HTTP/1.1", true),
            (b"GET /\xc3\xa9 HTTP/1.1", true),
            (b"GET /\x01 HTTP/1.1", true),
            (b"GET /", true),
            (b"GET /a%20b?x={1}|2 HTTP/1.1", false),
        ] {
            let now = Instant::now();
            let guard = guard(now);
            guard.feed(line, now).unwrap();
            guard.feed(b"\r\nHost: \"<a>\"\r\n\r\n", now).unwrap();
            assert_eq!(guard.header_read(false).repaired, repaired, "{line:?}");
        }
    }
}
