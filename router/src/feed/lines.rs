//! Splits a byte stream into lines, within a bound. Pure.

use super::FeedError;

/// Bytes of the line that has not ended yet.
pub struct Lines {
    rest: Vec<u8>,
    most: usize,
}

impl Lines {
    pub fn new(most: usize) -> Self {
        Self { rest: Vec::new(), most }
    }

    /// The lines that are whole now, without their ends.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<Vec<u8>>, FeedError> {
        let mut whole = Vec::new();
        let mut chunk = chunk;
        while let Some(end) = chunk.iter().position(|b| *b == b'\n') {
            let (line, after) = chunk.split_at(end);
            self.take(line)?;
            let mut line = std::mem::take(&mut self.rest);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            whole.push(line);
            chunk = after.get(1..).unwrap_or_default();
        }
        self.take(chunk)?;
        Ok(whole)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        if self.rest.len() + bytes.len() > self.most {
            return Err(FeedError::TooLong);
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let text = b"one\ntwo\r\n\nthree\nfour";
        for cut in 1..text.len() {
            let mut lines = Lines::new(8);
            let mut got = Vec::new();
            for chunk in text.chunks(cut) {
                got.extend(lines.push(chunk).unwrap());
            }
            assert_eq!(got, [&b"one"[..], b"two", b"", b"three"]);
        }
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::new(4);
        assert!(lines.push(b"abcd").is_ok());
        assert!(matches!(lines.push(b"e"), Err(FeedError::TooLong)));
    }
}
