//! One question and one answer a connection, each a line of JSON, over the simulated network.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

const PORT: u16 = 80;
const CONNECT: Duration = Duration::from_millis(600);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing was sent.
    Unreached,
    /// It may have been heard.
    Unanswered,
}

pub type Connection = BufReader<TcpStream>;

pub async fn open(host: &str, question: &impl Serialize) -> Result<Connection, NoAnswer> {
    let connected = timeout(CONNECT, TcpStream::connect((host, PORT))).await;
    let mut connection = BufReader::new(connected.map_err(|_| NoAnswer::Unreached)?.map_err(|_| NoAnswer::Unreached)?);
    say(&mut connection, question).await.map_err(|_| NoAnswer::Unanswered)?;
    Ok(connection)
}

pub async fn ask<A: DeserializeOwned>(
    host: &str,
    question: &impl Serialize,
    patience: Duration,
) -> Result<A, NoAnswer> {
    let mut connection = open(host, question).await?;
    let answer = timeout(patience, hear(&mut connection)).await;
    answer.ok().flatten().and_then(|line| serde_json::from_slice(&line).ok()).ok_or(NoAnswer::Unanswered)
}

pub async fn say(connection: &mut Connection, what: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    connection.get_mut().write_all(&line).await
}

/// The next whole line, without its end.
pub async fn hear(connection: &mut Connection) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line).await.ok()?;
    line.strip_suffix(b"\n").map(<[u8]>::to_vec)
}

/// Serves until the host dies. A connection that is not answered breaks off.
pub async fn serve<Q, F, Fut>(answer: F) -> turmoil::Result
where
    Q: DeserializeOwned,
    F: Fn(Q, Connection) -> Fut + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            let mut connection = BufReader::new(stream);
            let question = hear(&mut connection).await.and_then(|line| serde_json::from_slice(&line).ok());
            if let Some(question) = question {
                answer(question, connection).await;
            }
        });
    }
}
