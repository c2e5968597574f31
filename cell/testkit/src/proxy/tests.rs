use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::condition::within;

const SOON: Duration = Duration::from_secs(10);

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A server that gives every byte back, and a proxy before it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                // A reset is what most of these tests are about.
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    Proxy::start(anywhere(), target).await.unwrap()
}

async fn ask(stream: &mut TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(words).await?;
    let mut answer = vec![0; words.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    stream
}

#[tokio::test]
async fn bytes_pass_whole_and_the_end_passes_too() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut read, mut write) = stream.split();
    let mut received = Vec::new();
    let sending = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    tokio::try_join!(sending, read.read_to_end(&mut received)).unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn refusing_ends_open_connections_and_new_ones_until_it_passes_again() {
    let proxy = echo().await;
    let mut open = connected(&proxy).await;
    proxy.set(Mood::Refuse);
    assert!(open.read_u8().await.is_err(), "an open connection is reset");
    let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(ask(&mut fresh, b"hello").await.is_err());
    proxy.set(Mood::Pass);
    connected(&proxy).await;
}

#[tokio::test]
async fn an_answer_is_cut_after_the_given_bytes() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mood::ResetAfter(3));
    // The bytes before the cut may be thrown away by the reset, but no byte after it comes.
    assert!(ask(&mut stream, b"hello").await.is_err());
    proxy.set(Mood::Pass);
    connected(&proxy).await;
}

#[tokio::test]
async fn what_is_held_comes_later_and_whole() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mood::Hold);
    stream.write_all(b"later").await.unwrap();
    let mut answer = [0; 5];
    let early = tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut answer)).await;
    assert!(early.is_err(), "nothing passes");
    proxy.set(Mood::Pass);
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"later");
}

#[tokio::test]
async fn slow_takes_its_time_for_every_chunk() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    let delay = Duration::from_millis(20);
    proxy.set(Mood::Slow { delay, chunk: 10 });
    let begun = Instant::now();
    assert_eq!(ask(&mut stream, &[7; 50]).await.unwrap(), [7; 50]);
    // Five chunks at least on the way there, and one at least on the way back.
    assert!(begun.elapsed() >= delay * 6, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_target_that_is_down_looks_down() {
    let gone = TcpListener::bind(anywhere()).await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(anywhere(), gone).await.unwrap();
    within(SOON, "the client is reset", || async {
        let mut stream = TcpStream::connect(proxy.address()).await?;
        anyhow::ensure!(ask(&mut stream, b"hello").await.is_err());
        Ok(())
    })
    .await
    .unwrap();
}
