//! Bytes from one socket to the other, as the mood allows.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::Mood;

const CHUNK: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have said all.
    Closed,
    Reset,
}

/// Carries bytes both ways until both sides have ended, one breaks, or the mood resets them.
pub(super) async fn join(client: &mut TcpStream, server: &mut TcpStream, mood: watch::Receiver<Mood>) -> End {
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let request = carry(from_client, to_server, mood.clone(), Counts::No);
    let answer = carry(from_server, to_client, mood.clone(), Counts::Yes);
    tokio::select! {
        ends = async { tokio::try_join!(request, answer) } => ends.map_or(End::Reset, |_| End::Closed),
        () = refused(mood) => End::Reset,
    }
}

async fn refused(mut mood: watch::Receiver<Mood>) {
    if mood.wait_for(|mood| *mood == Mood::Refuse).await.is_err() {
        // The proxy is gone, and this task with it.
        std::future::pending().await
    }
}

/// Only what the dependency answers counts towards [`Mood::ResetAfter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

async fn carry(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mood: watch::Receiver<Mood>,
    counts: Counts,
) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut since = (Mood::Pass, 0);
    loop {
        from.readable().await?;
        let now = allowed(&mut mood).await;
        if since.0 != now {
            since = (now, 0);
        }
        let (delay, limit) = pace(now);
        let read = match from.try_read(buffer.get_mut(..limit).unwrap_or_default()) {
            Ok(0) => return to.shutdown().await,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let left = match (now, counts) {
            (Mood::ResetAfter(bytes), Counts::Yes) => bytes.saturating_sub(since.1),
            _ => u64::MAX,
        };
        let kept = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(buffer.get(..kept).unwrap_or_default()).await?;
        since.1 += kept as u64;
        if kept < read {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
    }
}

/// The mood, once it lets anything pass.
async fn allowed(mood: &mut watch::Receiver<Mood>) -> Mood {
    let now = mood.wait_for(|mood| *mood != Mood::Hold).await.map(|mood| *mood);
    match now {
        Ok(mood) => mood,
        // The proxy is gone, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

fn pace(mood: Mood) -> (Duration, usize) {
    match mood {
        Mood::Slow { delay, chunk } => (delay, chunk.clamp(1, CHUNK)),
        _ => (Duration::ZERO, CHUNK),
    }
}
