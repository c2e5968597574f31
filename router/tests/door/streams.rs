//! Streams in both directions, trailers, many at once.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::site::{PATIENCE, Site};
use crate::tokens::token;

type Sent = StreamBody<mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>>;

async fn h2c(address: std::net::SocketAddr) -> hyper::client::conn::http2::SendRequest<Sent> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn call(
    sender: &mut hyper::client::conn::http2::SendRequest<Sent>,
    authority: &str,
    path: &str,
    bearer: Option<&str>,
) -> (mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>, Response<Incoming>) {
    let (mut out, body) = mpsc::channel(16);
    let mut request = Request::post(format!("http://{authority}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    // Before the request is sent: a refusal comes early and closes the body.
    out.send(Ok(Frame::data(Bytes::from_static(b"first")))).await.unwrap();
    sender.ready().await.unwrap();
    let answer = sender.send_request(request.body(StreamBody::new(body)).unwrap());
    (out, tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap())
}

async fn next(answer: &mut Response<Incoming>) -> Frame<Bytes> {
    tokio::time::timeout(PATIENCE, answer.body_mut().frame()).await.unwrap().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_streams_both_ways_with_trailers() {
    let site = Site::start().await;
    let flight = site.router().flight;
    let mut sender = h2c(flight).await;
    // By host, and by token alone for a client that only knows an address.
    for authority in ["acme.localhost".to_owned(), flight.to_string()] {
        let (mut out, mut answer) = call(&mut sender, &authority, "/test.Echo/Bidi", Some(&token("acme"))).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(next(&mut answer).await.into_data().unwrap(), "first");
        for turn in 0..20 {
            // The answer to each piece comes before the next is sent: nothing waits for the end.
            let piece = Bytes::from(format!("piece {turn}"));
            out.send(Ok(Frame::data(piece.clone()))).await.unwrap();
            assert_eq!(next(&mut answer).await.into_data().unwrap(), piece);
        }
        drop(out);
        let trailers = next(&mut answer).await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-own-trailer"], "kept");
        assert!(!trailers.contains_key("x-cyto-secret"));
    }
    assert_eq!(site.shared_sql.behaviour.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_callers_are_refused_in_grpc() {
    let site = Site::start().await;
    let mut sender = h2c(site.router().flight).await;
    for (authority, bearer, status) in [
        ("acme.localhost", None, "16"),
        ("globex.localhost", Some(token("acme")), "7"),
        ("nobody.localhost", None, "5"),
    ] {
        let (_out, mut answer) = call(&mut sender, authority, "/test.Echo/Bidi", bearer.as_deref()).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let trailers = next(&mut answer).await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], status);
        assert!(trailers["grpc-message"].to_str().unwrap().starts_with("router/"));
    }
    // The connection outlives the refusals.
    let (_out, answer) = call(&mut sender, "acme.localhost", "/test.Echo/Bidi", Some(&token("acme"))).await;
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_few_connections_to_a_cell() {
    let site = Site::start().await;
    let mut sender = h2c(site.router().flight).await;
    let bearer = token("acme");
    let mut open = Vec::new();
    for _ in 0..60 {
        open.push(call(&mut sender, "acme.localhost", "/test.Echo/Bidi", Some(&bearer)).await);
    }
    for (out, answer) in &mut open {
        assert_eq!(next(answer).await.into_data().unwrap(), "first");
        out.send(Ok(Frame::data(Bytes::from(vec![7; 100_000])))).await.unwrap();
        let mut got = 0;
        while got < 100_000 {
            got += next(answer).await.into_data().unwrap().len();
        }
    }
    let connections = site.shared_sql.behaviour.connections.load(Ordering::SeqCst);
    assert!(connections <= 2, "{connections} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_bodies_stream_through_without_being_held() {
    let site = Site::start().await;
    let (mut out, body) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    let client = site.client().build().unwrap();
    let request = client
        .post(site.url("acme.localhost", "/echo"))
        .bearer_auth(token("acme"))
        .body(reqwest::Body::wrap_stream(body));
    out.send(Ok(b"one".to_vec())).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    let mut back = answer.bytes_stream();
    assert_eq!(back.next().await.unwrap().unwrap(), "one");
    out.send(Ok(b"two".to_vec())).await.unwrap();
    assert_eq!(back.next().await.unwrap().unwrap(), "two");
    drop(out);
    assert!(back.next().await.is_none());

    let large = vec![1u8; 8 * 1024 * 1024];
    let sent = client.post(site.url("acme.localhost", "/collect")).bearer_auth(token("acme")).body(large);
    assert_eq!(sent.send().await.unwrap().text().await.unwrap(), "Ok(8388608)");
}
