//! A network that fails on demand: a TCP proxy between a client and a server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const CHUNK: usize = 16 * 1024;

/// What the network does. A change takes effect on connections that are open, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Nobody listens, and what was connected is cut off.
    Refused,
    /// Every chunk of up to 16 KiB takes this long, in each direction.
    Slow(Duration),
    /// Half of the next chunk arrives, then the connection is reset.
    Reset,
    /// Connections stand, and nothing arrives any more.
    Silent,
}

pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a port of `ip` that nobody has, in front of `target`.
    pub async fn start(ip: IpAddr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await.context("no proxy")?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fair);
        let task = tokio::spawn(accept(listener, address, target, seen));
        Ok(Self { address, weather, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let (mut listener, mut connections) = (Some(listener), JoinSet::new());
    loop {
        if *weather.borrow_and_update() == Weather::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = listen_again(address);
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            accepted = next(listener.as_ref()) => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(relay(client, target, weather.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// The same port once more, although connections of before may linger on it.
fn listen_again(address: SocketAddr) -> Option<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    socket.listen(1024).ok()
}

async fn relay(mut client: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let whole = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = carry(from_client, to_server, weather.clone());
        let back = carry(from_server, to_client, weather.clone());
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.is_ok(),
            _ = weather.wait_for(|now| *now == Weather::Refused) => false,
        }
    };
    if !whole {
        // No linger: the peers get a reset, not an end.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Copies until the end; an error is a connection to be reset.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        let now = weather.wait_for(|now| *now != Weather::Silent).await.map_or(Weather::Fair, |now| *now);
        match now {
            Weather::Slow(pause) => tokio::time::sleep(pause).await,
            Weather::Reset if read > 0 => {
                to.write_all(&chunk[..read / 2]).await?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            _ => {}
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::Ipv4Addr;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Sends back what it gets, in front of which a proxy stands.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind(SocketAddr::new(HOME, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::start(HOME, target).await.unwrap()
    }

    async fn said(client: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        client.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        client.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn each_weather_is_what_it_says() {
        let proxy = echo().await;
        let connect = || TcpStream::connect(proxy.address());
        let mut client = connect().await.unwrap();
        assert_eq!(said(&mut client, b"fair").await.unwrap(), b"fair");
        proxy.set(Weather::Slow(Duration::from_millis(30)));
        let begun = std::time::Instant::now();
        assert_eq!(said(&mut client, b"slow").await.unwrap(), b"slow");
        assert!(begun.elapsed() >= Duration::from_millis(60));
        proxy.set(Weather::Silent);
        let unanswered = tokio::time::timeout(Duration::from_millis(100), said(&mut client, b"silent")).await;
        assert!(unanswered.is_err());
        proxy.set(Weather::Reset);
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        proxy.set(Weather::Refused);
        let refused = crate::eventually("nobody listens", || async {
            let refused = connect().await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            anyhow::ensure!(refused, "not refused");
            Ok(())
        });
        refused.await.unwrap();
        proxy.set(Weather::Fair);
        let mut client = crate::eventually("somebody listens", || async { Ok(connect().await?) }).await.unwrap();
        assert_eq!(said(&mut client, b"again").await.unwrap(), b"again");
    }
}
