//! Streams that are watched over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header};
use reqwest::Method;
use serde_json::Value;
use testkit::{Answer, Tenant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::rows;
use crate::world::World;

/// Of one message; a cell's reader has to find the topic first.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Socket = WebSocketStream<TcpStream>;

/// How a client says who it is.
enum Said<'a> {
    Nothing,
    Header(&'a str),
    /// As a browser has to.
    Protocol(&'a str),
}

fn asked(tenant: &Tenant, path: &str, said: &Said<'_>) -> anyhow::Result<Request<()>> {
    let host = format!("{}.localhost:{}", tenant.id, tenant.http().router().port());
    let mut request = format!("ws://{host}{path}").into_client_request()?;
    match said {
        Said::Nothing => {}
        Said::Header(token) => {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        Said::Protocol(token) => {
            let protocols = HeaderValue::from_str(&format!("cyto, bearer.{token}"))?;
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
        }
    }
    Ok(request)
}

/// The socket, or the status that refuses it.
async fn open(tenant: &Tenant, path: &str, said: Said<'_>) -> anyhow::Result<Result<Socket, u16>> {
    let stream = TcpStream::connect(tenant.http().router()).await?;
    let opened = tokio_tungstenite::client_async(asked(tenant, path, &said)?, stream);
    match tokio::time::timeout(PATIENCE, opened).await.context("no answer")? {
        Ok((socket, answer)) => {
            let protocol = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            let wanted = matches!(said, Said::Protocol(_)).then_some("cyto");
            ensure!(protocol.map(|p| p.to_str()).transpose()? == wanted, "another protocol: {protocol:?}");
            ensure!(answer.headers().contains_key("x-request-id"), "no request id");
            Ok(Ok(socket))
        }
        Err(Error::Http(answer)) => Ok(Err(answer.status().as_u16())),
        Err(error) => Err(error.into()),
    }
}

async fn opened(tenant: &Tenant, path: &str, said: Said<'_>) -> anyhow::Result<Socket> {
    open(tenant, path, said).await?.map_err(|status| anyhow::anyhow!("refused with {status}"))
}

/// A socket that shows a stream's rows from the first on.
pub async fn watch(tenant: &Tenant, stream: &str) -> anyhow::Result<Socket> {
    let path = format!("/api/v1/streams/{stream}/tail?from=earliest");
    opened(tenant, &path, Said::Header(&tenant.token())).await
}

/// The next row's id, or how the socket was closed.
async fn next(socket: &mut Socket) -> anyhow::Result<Result<u64, CloseCode>> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.context("nothing comes")?;
        match message.context("it ends without a word")?? {
            Message::Text(text) => {
                let record: Value = serde_json::from_str(&text)?;
                return Ok(Ok(record["value"]["id"].as_u64().with_context(|| record.to_string())?));
            }
            Message::Close(frame) => return Ok(Err(frame.context("a close without a code")?.code)),
            Message::Ping(_) | Message::Pong(_) => {}
            other => bail!("{other:?}"),
        }
    }
}

/// Until it is closed; says how.
pub async fn to_the_end(mut socket: Socket) -> anyhow::Result<CloseCode> {
    loop {
        if let Err(code) = next(&mut socket).await? {
            return Ok(code);
        }
    }
}

pub async fn a_streams_rows_go_by(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("watcher").await?;
    let stream = rows::stream(&tenant, "orders").await?;
    rows::push_all(&tenant, &stream, 0, 10).await?;
    let path = format!("/api/v1/streams/{stream}/tail?from=earliest");
    let token = tenant.token();
    for (said, begins) in [(Said::Header(&token), 10), (Said::Protocol(&token), 20)] {
        let mut socket = opened(&tenant, &path, said).await?;
        let mut seen = Vec::new();
        for at in 0..begins + 10 {
            if at == begins {
                rows::push_all(&tenant, &stream, begins, begins + 10).await?;
            }
            seen.push(next(&mut socket).await?.map_err(|code| anyhow::anyhow!("closed: {code}"))?);
        }
        seen.sort_unstable();
        ensure!(seen == (0..begins + 10).collect::<Vec<_>>(), "{seen:?}");
        socket.close(None).await?;
    }
    let some = format!("{path}&limit=5");
    let socket = opened(&tenant, &some, Said::Header(&token)).await?;
    ensure!(to_the_end(socket).await? == CloseCode::Normal, "after the last row that was wanted");
    Ok(())
}

pub async fn a_socket_opens_to_nobody_else(world: Arc<World>) -> anyhow::Result<()> {
    let (acme, foreign) = (&world.acme, world.neighbour.token());
    let (token, stream) = (acme.token(), rows::stream(acme, &format!("own_{}", rand::random::<u32>())).await?);
    let path = format!("/api/v1/streams/{stream}/tail");
    let hidden = format!("/api/v1/streams/{}/tail", world.secrets[0].stream);
    for (what, path, said, wanted) in [
        ("no token", &*path, Said::Nothing, 401),
        ("no token that is one", &path, Said::Protocol("a.b.c"), 401),
        ("another tenant's token", &path, Said::Header(&foreign), 403),
        ("another tenant's token as a browser's", &path, Said::Protocol(&foreign), 403),
        ("another tenant's stream", &hidden, Said::Header(&token), 404),
        ("an answer that is no events", "/api/v1/streams", Said::Header(&token), 200),
        ("no path", "/api/v1/nothing-here", Said::Header(&token), 404),
    ] {
        match open(acme, path, said).await? {
            Ok(_) => bail!("{what}: opened"),
            Err(status) => ensure!(status == wanted, "{what}: {status} instead of {wanted}"),
        }
    }
    let mut socket = watch(acme, &stream).await?;
    socket.send(Message::text("take this")).await?;
    ensure!(to_the_end(socket).await? == CloseCode::Unsupported);
    // Any other upgrade is not for us: the request is answered as it is.
    let asked = acme.request(Method::GET, "/api/v1/me").header("connection", "upgrade").header("upgrade", "h2c");
    ensure!(Answer::of(asked).await?.good()?["tenant"] == acme.id.as_str());
    rows::remove(acme, &format!("/api/v1/streams/{stream}")).await
}

/// What comes before the answer is no message yet: if there is no socket after all, it is the next request, for the router
/// to judge. Sent on, it would stand in the cell as one that the router has let in.
pub async fn what_follows_a_refused_socket_is_a_request_of_its_own(world: Arc<World>) -> anyhow::Result<()> {
    let (acme, token) = (&world.acme, world.acme.token());
    let host = format!("Host: {}.localhost\r\nAuthorization: Bearer {token}\r\n", acme.id);
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let hidden = format!("GET /internal/v1/hidden HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    for path in ["/api/v1/streams", "/api/v1/streams/absent/tail", "/api/v1/me"] {
        let mut stream = TcpStream::connect(acme.http().router()).await?;
        let both = format!("GET {path} HTTP/1.1\r\n{host}{socket}\r\n{hidden}");
        stream.write_all(both.as_bytes()).await?;
        let mut said = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.context("kept open")?;
        let answers = said.matches("HTTP/1.1 ").count();
        ensure!(read.is_ok() && !said.contains("101 Switching"), "{path}: {said}");
        // Refused by the router, or not read at all.
        ensure!(answers == 1 || (answers == 2 && said.contains("router/not-found")), "{path}: {said}");
    }
    Ok(())
}
