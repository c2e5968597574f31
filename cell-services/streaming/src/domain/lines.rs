//! Cuts a byte stream into lines without holding more than one line and one chunk.

use bytes::Bytes;

/// Longest row, in bytes: with its key and headers it must fit into one record of the data bus.
pub const MAX_ROW_BYTES: usize = 900_000;

/// A line, or the news that one was too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Row(Bytes),
    TooLong,
}

/// Feed it a chunk, take lines until there is none, feed the next. Blank lines are no rows.
#[derive(Debug, Default)]
pub struct LineCutter {
    chunk: Bytes,
    /// The unfinished line of the chunks before.
    rest: Vec<u8>,
    /// Inside a line that is already too long.
    skipping: bool,
    ended: bool,
}

impl LineCutter {
    /// The chunk before must be used up.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "lines of the chunk before were left");
        self.chunk = chunk;
    }

    /// No more chunks: the last line needs no line end.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next complete line, or `None` until more is fed.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.chunk.iter().position(|b| *b == b'\n') else {
                self.keep_rest();
                return if self.ended { self.last_line() } else { None };
            };
            let line = self.chunk.split_to(at + 1);
            if let Some(line) = self.complete(line) {
                return Some(line);
            }
        }
    }

    /// `None` for a blank line.
    fn complete(&mut self, end: Bytes) -> Option<Line> {
        if self.skipping || self.rest.len() + end.len() > MAX_ROW_BYTES {
            self.skipping = false;
            self.rest.clear();
            return Some(Line::TooLong);
        }
        if self.rest.is_empty() {
            return trimmed(end);
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(&end);
        trimmed(whole.into())
    }

    fn keep_rest(&mut self) {
        if self.skipping || self.rest.len() + self.chunk.len() > MAX_ROW_BYTES {
            self.skipping = true;
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(&self.chunk);
        }
        self.chunk.clear();
    }

    fn last_line(&mut self) -> Option<Line> {
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        trimmed(std::mem::take(&mut self.rest).into())
    }
}

fn trimmed(line: Bytes) -> Option<Line> {
    let row = line.trim_ascii();
    if row.is_empty() { None } else { Some(Line::Row(line.slice_ref(row))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        let mut take = |cutter: &mut LineCutter| {
            while let Some(line) = cutter.next_line() {
                lines.push(match line {
                    Line::Row(row) => String::from_utf8_lossy(&row).into_owned(),
                    Line::TooLong => "<too long>".to_owned(),
                });
            }
        };
        for chunk in chunks {
            cutter.feed(Bytes::copy_from_slice(chunk));
            take(&mut cutter);
        }
        cutter.end();
        take(&mut cutter);
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_body_was_chunked() {
        let body = b"{\"a\":1}\r\n\n  {\"a\":2}\n{\"a\":3}";
        let whole = cut([body.as_slice()]);
        assert_eq!(whole, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        for size in 1..body.len() {
            assert_eq!(cut(body.chunks(size)), whole, "{size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_one_refusal_and_the_next_line_is_read() {
        let long = vec![b'x'; MAX_ROW_BYTES];
        assert_eq!(cut([long.as_slice(), &long, b"\n{}", b"\n"]), ["<too long>", "{}"]);
        assert_eq!(cut([long.as_slice(), b"y"]), ["<too long>"]);
    }
}
