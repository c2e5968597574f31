//! HTTP over the simulated network: what the sink's clients use in place of mTLS, and the servers.

use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kit::Scope;
use kit::exchange::{Exchange, ExchangeError};
use serde_json::Value;
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

use super::fault::Step;
use super::world::World;

const PORT: u16 = 80;
const CONNECT: Duration = Duration::from_millis(600);
const DEADLINE: Duration = Duration::from_millis(2_500);

/// Carries a sink's calls to one host.
pub struct Wire {
    pub world: Arc<World>,
    pub host: &'static str,
}

#[async_trait]
impl Exchange for Wire {
    async fn exchange(&self, scope: &Scope, call: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError> {
        let commit = call.method() == Method::POST && call.uri().path().contains("/tables/");
        let step = if commit { Step::Commit } else { Step::Call };
        let what = format!("{} {}", call.method(), call.uri());
        self.world
            .pass(step, &format!("sends {what}"), async {})
            .await
            .map_err(|e| ExchangeError::Unreached(e.into()))?;
        let answer = self.carry(scope, call).await;
        let told = match &answer {
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        // Only what is certain obliges the sink to clean up.
        if !answer.as_ref().is_ok_and(|a| a.status().is_success() || a.status() == StatusCode::CONFLICT) {
            self.world.excuse();
        }
        let arrived = self.world.pass(step, &format!("got {told} for {what}"), async {}).await;
        arrived.map_err(|e| ExchangeError::Unanswered(e.into())).and(answer)
    }
}

impl Wire {
    async fn carry(&self, scope: &Scope, mut call: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError> {
        let headers = scope.to_headers().map_err(|e| ExchangeError::Unreached(e.into()))?;
        call.headers_mut().extend(headers);
        call.headers_mut().insert(header::HOST, HeaderValue::from_static("cell"));
        let connected = timeout(CONNECT, TcpStream::connect((self.host, PORT))).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(ExchangeError::Unreached(error.into())),
            Err(late) => return Err(ExchangeError::Unreached(late.into())),
        };
        match timeout(DEADLINE, talk(stream, call)).await {
            Ok(answer) => answer.map_err(|error| ExchangeError::Unanswered(error.into())),
            Err(late) => Err(ExchangeError::Unanswered(late.into())),
        }
    }
}

async fn talk(stream: TcpStream, call: Request<Bytes>) -> Result<Response<Bytes>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = pin!(async move {
        let (parts, body) = sender.send_request(call.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    });
    match select(asking, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asking)) => asking.await,
    }
}

/// Serves until the host dies. A handler that answers nothing breaks the connection off.
pub async fn serve<F, Fut>(handle: F) -> turmoil::Result
where
    F: Fn(Request<Bytes>) -> Fut + Clone + 'static,
    Fut: Future<Output = Option<Response<Bytes>>> + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let handle = handle.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |call: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (parts, body) = call.into_parts();
                    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                    let answer = handle(Request::from_parts(parts, body)).await;
                    answer.map(|a| a.map(Full::new)).ok_or_else(|| io::Error::other("broken off"))
                }
            });
            // A broken connection is the client's to notice.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

pub fn answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = status;
    answer
}
