//! The routing feed as a router reads it.

use std::pin::Pin;

use anyhow::Context as _;
use bytes::Bytes;
use contracts::routing::FeedLine;
use futures::{Stream, StreamExt as _};

use super::*;
use crate::ops::routing::feed;

struct Reader {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    waiting: Vec<FeedLine>,
    table: Table,
}

impl Reader {
    async fn open(tenancy: &Tenancy, since: Option<u64>) -> anyhow::Result<Self> {
        Ok(Self { stream: Box::pin(feed(tenancy, since).await?), waiting: Vec::new(), table: Table::default() })
    }

    async fn next(&mut self) -> anyhow::Result<FeedLine> {
        while self.waiting.is_empty() {
            let piece = self.stream.next().await.context("the feed ended")??;
            let lines = piece.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            self.waiting = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
        }
        let line = self.waiting.remove(0);
        match &line {
            FeedLine::Snapshot { table } => self.table = table.clone(),
            FeedLine::Delta { version, change } => self.table.apply(*version, change)?,
            FeedLine::Heartbeat { version } => assert_eq!(*version, self.table.version, "a heartbeat runs ahead"),
        }
        Ok(line)
    }

    async fn until(&mut self, version: u64) -> Done {
        while self.table.version < version {
            self.next().await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_new_reader_gets_the_table_and_then_every_change() -> Done {
    let site = site().await?;
    let mut reader = Reader::open(&site.tenancy, None).await?;
    assert!(matches!(reader.next().await?, FeedLine::Snapshot { .. }));
    for name in ["acme", "acme-2", "acme-3"] {
        create(&site.tenancy, name, "acme-corp").await?;
    }
    tenants::remove(&site.tenancy, &platform(), &tenant("acme-2")).await?;
    let table = snapshot(&site.tenancy.0.pool).await?;
    reader.until(table.version).await?;
    assert_eq!(reader.table, table);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_was_away_gets_only_what_it_missed() -> Done {
    let site = site().await?;
    let before = snapshot(&site.tenancy.0.pool).await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    let mut reader = Reader::open(&site.tenancy, Some(before.version)).await?;
    reader.table = before.clone();
    assert!(matches!(reader.next().await?, FeedLine::Delta { .. }));
    assert_eq!(reader.table, snapshot(&site.tenancy.0.pool).await?);
    let mut ahead = Reader::open(&site.tenancy, Some(1_000_000)).await?;
    assert!(matches!(ahead.next().await?, FeedLine::Snapshot { .. }), "a reader ahead of the log starts again");
    let mut level = Reader::open(&site.tenancy, Some(reader.table.version)).await?;
    level.table = reader.table.clone();
    assert!(matches!(level.next().await?, FeedLine::Heartbeat { .. }), "the first line comes at once");
    Ok(())
}

#[tokio::test]
async fn a_change_made_by_another_process_wakes_the_readers() -> Done {
    let site = site().await?;
    let second = start(&site.tenancy.0.pool).await?;
    let mut reader = Reader::open(&second.tenancy, None).await?;
    reader.next().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    let version = snapshot(&site.tenancy.0.pool).await?.version;
    // A reader looks again by itself with every heartbeat; this is what wakes it before.
    let mut head = second.tenancy.0.routing_head.subscribe();
    let heard = tokio::time::timeout(Duration::from_secs(60), head.wait_for(|head| *head >= version)).await;
    heard.context("no notification")??;
    reader.until(version).await?;
    assert_eq!(reader.table, snapshot(&site.tenancy.0.pool).await?);
    Ok(())
}

#[tokio::test]
async fn readers_are_bounded() -> Done {
    let site = site().await?;
    let settings = Settings { max_feed_readers: 1, ..Settings::default() };
    let narrow = Tenancy::new(site.tenancy.0.pool.clone(), settings, Arc::new(Digest));
    let first = Reader::open(&narrow, None).await?;
    assert!(matches!(feed(&narrow, None).await.map(drop), Err(Error::TooManyReaders)));
    drop(first);
    assert!(feed(&narrow, None).await.is_ok());
    Ok(())
}
