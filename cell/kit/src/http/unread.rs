//! Request bodies that nobody reads.
//!
//! A stream whose body is dropped before its end is reset, and a proxy that is still sending takes the reset
//! for a broken connection to its own client. A short body is cheaper read to its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// Bytes a body may still have to be read for nothing, and how long they are waited for.
const SHORT: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that, if it is short, is read to its end after it is dropped.
pub(super) struct Unread(Option<Incoming>);

impl Unread {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let short = body.size_hint().upper().is_some_and(|left| left <= SHORT);
        if let Some(runtime) = Handle::try_current().ok().filter(|_| short) {
            let read = async move { while let Some(Ok(_)) = body.frame().await {} };
            runtime.spawn(tokio::time::timeout(PATIENCE, read));
        }
    }
}
