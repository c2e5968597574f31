//! One exchange with a service: bodies stream both ways, nothing is held back.
//!
//! Memory per exchange is the HTTP/2 flow-control windows. Dropping the exchange (the caller hung
//! up) drops the request to the service, which resets its stream there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, header};
use http_body::Body as _;
use kit::Scope;
use kit::peers::PeerHttp;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::config::Settings;
use crate::domain;
use crate::error::Error;
use crate::limits::Leave;

/// What has become of the request's body so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    UnderWay,
    Done,
    TooLong,
    Broken,
}

#[derive(Debug)]
struct Progress {
    upload: Upload,
    last: Instant,
}

/// Shared between the body that is being sent and the wait for the answer.
#[derive(Debug, Clone)]
struct Watch(Arc<Mutex<Progress>>);

impl Watch {
    fn new(upload: Upload) -> Self {
        Self(Arc::new(Mutex::new(Progress { upload, last: Instant::now() })))
    }

    fn mark(&self, upload: Upload) {
        *self.0.lock() = Progress { upload, last: Instant::now() };
    }

    fn upload(&self) -> Upload {
        self.0.lock().upload
    }

    /// When the exchange counts as stuck, if nothing moves until then.
    fn deadline(&self, settings: &Settings) -> Instant {
        let progress = self.0.lock();
        match progress.upload {
            Upload::UnderWay => progress.last + settings.upload_idle(),
            _ => progress.last + settings.head(),
        }
    }
}

/// The request's body on its way to the service, counted.
struct Sending {
    body: BodyDataStream,
    watch: Watch,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the body is not sent any further")]
struct Stopped;

impl Stream for Sending {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(next) = self.body.poll_next_unpin(context) else { return Poll::Pending };
        Poll::Ready(match next {
            None => {
                self.watch.mark(Upload::Done);
                None
            }
            Some(Err(_)) => {
                self.watch.mark(Upload::Broken);
                Some(Err(Stopped))
            }
            Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => {
                    self.left = left;
                    self.watch.mark(Upload::UnderWay);
                    Some(Ok(chunk))
                }
                None => {
                    self.watch.mark(Upload::TooLong);
                    Some(Err(Stopped))
                }
            },
        })
    }
}

/// The answer's body on its way back. Holds the tenant's leave until the last byte.
struct Receiving<S> {
    inner: S,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    _leave: Leave,
}

#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the service fell silent in the middle of its answer")]
    Silent,
    #[error("the service broke off its answer")]
    Broken(#[source] reqwest::Error),
}

impl<S: Stream<Item = reqwest::Result<Bytes>> + Unpin> Stream for Receiving<S> {
    type Item = Result<Bytes, AnswerError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.inner.poll_next_unpin(context) {
            Poll::Ready(next) => {
                let until = Instant::now() + self.idle;
                self.silence.as_mut().reset(until);
                Poll::Ready(next.map(|chunk| chunk.map_err(AnswerError::Broken)))
            }
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(AnswerError::Silent))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

/// Passes `request` to `service` on behalf of `scope` and answers as soon as the service's head is in.
pub async fn forward(
    settings: &Settings,
    service: &'static str,
    peer: &PeerHttp,
    scope: &Scope,
    request: Request<Body>,
    leave: Leave,
) -> Result<Response, Error> {
    let limit = settings.body_bytes;
    if announced_length(&request).is_some_and(|length| length > limit) {
        return Err(Error::BodyTooLong { limit });
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let empty = body.is_end_stream();
    let watch = Watch::new(if empty { Upload::Done } else { Upload::UnderWay });
    let mut call = peer
        .request(parts.method.clone(), path, scope)?
        .headers(domain::request_headers(&parts.headers))
        .timeout(settings.total());
    if !empty {
        let sending = Sending { body: body.into_data_stream(), watch: watch.clone(), left: limit };
        call = call.body(reqwest::Body::wrap_stream(sending));
    }
    let answer = await_head(settings, service, call.send(), &watch).await?;
    answer_from(settings, answer, leave)
}

fn announced_length(request: &Request<Body>) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn await_head(
    settings: &Settings,
    service: &'static str,
    sent: impl Future<Output = reqwest::Result<reqwest::Response>>,
    watch: &Watch,
) -> Result<reqwest::Response, Error> {
    tokio::pin!(sent);
    loop {
        let deadline = watch.deadline(settings);
        tokio::select! {
            result = &mut sent => {
                return result.map_err(|source| match watch.upload() {
                    Upload::TooLong => Error::BodyTooLong { limit: settings.body_bytes },
                    Upload::Broken => Error::BodyBroken,
                    _ if source.is_connect() => Error::Refused { service, source },
                    _ if source.is_timeout() => Error::Timeout { service },
                    _ => Error::BrokenOff { service, source },
                });
            }
            () = tokio::time::sleep_until(deadline) => {
                // The deadline moves with every chunk that is sent.
                if Instant::now() >= watch.deadline(settings) {
                    return Err(match watch.upload() {
                        Upload::UnderWay => Error::BodyBroken,
                        _ => Error::Timeout { service },
                    });
                }
            }
        }
    }
}

fn answer_from(settings: &Settings, answer: reqwest::Response, leave: Leave) -> Result<Response, Error> {
    let idle = settings.download_idle();
    let mut response = Response::builder().status(answer.status());
    if let Some(map) = response.headers_mut() {
        *map = domain::response_headers(answer.headers());
    }
    let receiving = Receiving {
        inner: Box::pin(answer.bytes_stream()),
        idle,
        silence: Box::pin(tokio::time::sleep(idle)),
        _leave: leave,
    };
    response.body(Body::from_stream(receiving)).map_err(Error::Answer)
}
