//! A response read line by line, with a bound on the line and on silence.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::{FeedError, SILENCE};

/// A line that holds every revocation is long, but not endless.
const MAX_LINE_BYTES: usize = 64 << 20;

const SILENT: &str = "the feed has been silent for too long";

/// What a feed's request is answered with: its head is waited for no longer than a line. The client's pool can keep a
/// request for ever whose first connection was refused right after its handshake.
pub(super) async fn answer(request: reqwest::RequestBuilder) -> Result<reqwest::Response, FeedError> {
    answer_within(SILENCE, request).await
}

async fn answer_within(patience: Duration, request: reqwest::RequestBuilder) -> Result<reqwest::Response, FeedError> {
    let answer = tokio::time::timeout(patience, request.send()).await.map_err(|_| SILENT)??;
    Ok(answer.error_for_status()?)
}

pub(super) struct Lines {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self { body: response.bytes_stream().boxed(), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end; `None` at the end of the response.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, FeedError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                return Ok(Some(line.to_vec()));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err("a line of the feed is longer than its bound".into());
            }
            match tokio::time::timeout(SILENCE, self.body.next()).await {
                Err(_) => return Err(SILENT.into()),
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_that_never_comes_is_not_waited_for() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{}/", silent.local_addr().unwrap()));
        let refused = answer_within(Duration::from_millis(50), request).await.unwrap_err();
        assert_eq!(refused.to_string(), SILENT);
    }
}
