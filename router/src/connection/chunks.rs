//! Watches the framing of a chunked body (RFC 9112, 7.1), more strictly than pingora reads it: a size that is missing, a
//! line that ends in anything but CR LF, a trailer that is no field. What it does not frame is passed over. Pure.

/// Digits of a size: no body is longer, and no reader's number overflows.
const MOST_DIGITS: u8 = 15;
/// Bytes of one chunk's extensions, or of all trailers.
const MOST_EXTRA: u32 = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size {
        digits: u8,
    },
    Extension,
    /// The LF that ends a size's line.
    SizeEnd,
    Data,
    /// The CR LF behind a chunk's data.
    DataCr,
    DataLf,
    TrailerBegin,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The LF of the empty line that ends all.
    LastLf,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// Bytes left of the present chunk.
    left: u64,
    extra: u32,
}

/// Somebody could read the body otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChunk;

impl Chunks {
    pub fn new() -> Self {
        Self { at: At::Size { digits: 0 }, left: 0, extra: 0 }
    }

    /// What comes behind the body's end is the next request's.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), BadChunk> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            match self.at {
                At::Over => return Ok(()),
                At::Data => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                    self.left -= here as u64;
                    rest = rest.get(here..).unwrap_or_default();
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                }
                _ => {
                    self.at = self.step(*byte)?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<At, BadChunk> {
        Ok(match (self.at, byte) {
            (At::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                self.left = self.left * 16 + digit;
                At::Size { digits: digits + 1 }
            }
            (At::Size { digits: 1.. }, b';') => {
                self.extra = 0;
                At::Extension
            }
            (At::Size { digits: 1.. } | At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, _) => self.extra(byte, At::Extension)?,
            (At::SizeEnd, b'\n') if self.left > 0 => At::Data,
            (At::SizeEnd, b'\n') => {
                self.extra = 0;
                At::TrailerBegin
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::TrailerBegin, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => At::Over,
            (At::TrailerName, b':') => self.extra(b' ', At::TrailerValue)?,
            (At::TrailerBegin | At::TrailerName, _) if is_token(byte) => self.extra(byte, At::TrailerName)?,
            (At::TrailerValue, b'\r') => At::TrailerEnd,
            (At::TrailerValue, _) => self.extra(byte, At::TrailerValue)?,
            (At::TrailerEnd, b'\n') => At::TrailerBegin,
            _ => return Err(BadChunk),
        })
    }

    /// One more byte of what is not the body's.
    fn extra(&mut self, byte: u8, at: At) -> Result<At, BadChunk> {
        self.extra += 1;
        let is_text = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        if is_text && self.extra <= MOST_EXTRA { Ok(at) } else { Err(BadChunk) }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(text: &[u8]) -> Result<Chunks, BadChunk> {
        let mut chunks = Chunks::new();
        chunks.feed(text).map(|()| chunks)
    }

    #[test]
    fn a_body_is_whole_however_it_is_cut() {
        let text =
            b"5\r\nhello\r\n1F;a=b;c=\"d\"\r\n0123456789012345678901234567890\r\n0\r\nX-Trailer: 1\r\n\r\nGET / \0";
        for cut in 1..text.len() {
            let mut chunks = Chunks::new();
            for piece in text.chunks(cut) {
                chunks.feed(piece).unwrap();
            }
            assert_eq!(chunks.at, At::Over, "{cut}");
        }
    }

    #[test]
    fn what_others_read_otherwise_is_refused() {
        for bad in [
            &b"\r\n5\r\nhello\r\n0\r\n\r\n"[..],
            b";5\r\n",
            b"5\nhello",
            b"5 \r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"5;a\0\r\n",
            b"5\r\nhelloo\r\n",
            b"5\r\nhello\n",
            b"5\r\nhello\r\n\r\n",
            b"0\r\nhello\r\n\r\n",
            b"0\r\n: v\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n",
            b"0\r\nA: b\nC: d\r\n\r\n",
            b"0000000000000005\r\n",
        ] {
            assert_eq!(fed(bad), Err(BadChunk), "{:?}", String::from_utf8_lossy(bad));
        }
        let endless = [&b"5;"[..], &[b'a'; MOST_EXTRA as usize + 1]].concat();
        assert_eq!(fed(&endless), Err(BadChunk));
    }

    #[test]
    fn an_end_that_has_not_come_is_no_fault() {
        for begun in [&b""[..], b"5", b"5\r\nhel", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n"] {
            assert!(fed(begun).is_ok_and(|chunks| chunks.at != At::Over), "{:?}", String::from_utf8_lossy(begun));
        }
    }
}
