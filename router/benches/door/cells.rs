//! Two cells that answer with their name: on plain HTTP/1.1, and on HTTP/2 over mTLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certs::Authority;

pub struct Cell {
    pub name: &'static str,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
}

const NAMES: [&str; 2] = ["shared-0", "shared-1"];

impl Cell {
    /// The name its certificate carries.
    pub fn certified(&self) -> String {
        format!("gateway.{}.cytoplane.internal", self.name)
    }
}

pub async fn open(at: usize, authority: &Authority) -> Cell {
    let name = NAMES[at];
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cell = Cell { name, plain: plain.local_addr().unwrap(), secure: secure.local_addr().unwrap() };
    let tls = authority.server(&cell.certified(), &format!("spiffe://cytoplane/{name}/gateway"));
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = plain.accept().await.unwrap();
            tokio::task::spawn_local(answer_plain(stream, name));
        }
    });
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = secure.accept().await.unwrap();
            tokio::task::spawn_local(answer_secure(stream, tls.clone(), name));
        }
    });
    cell
}

async fn answer_plain(mut stream: TcpStream, name: &'static str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
    let _ = stream.set_nodelay(true);
    let mut pending = Vec::new();
    let mut block = [0; 8 * 1024];
    loop {
        let read = match stream.read(&mut block).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        pending.extend_from_slice(&block[..read]);
        let mut answers = Vec::new();
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            pending.drain(..end + 4);
            answers.extend_from_slice(answer.as_bytes());
        }
        if stream.write_all(&answers).await.is_err() {
            return;
        }
    }
}

async fn answer_secure(stream: TcpStream, tls: Arc<ServerConfig>, name: &'static str) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
    let service = service_fn(move |_| async move {
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(name.as_bytes()))))
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
