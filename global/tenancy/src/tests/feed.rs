//! The feeds as a router and as a cell read them.

use std::pin::Pin;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use contracts::Generation;
use contracts::placements::{Place, PlacementLine};
use contracts::routing::FeedLine;
use contracts::seal::Unsealed;
use futures::{Stream, StreamExt as _};

use super::*;
use crate::ops::feed::{Audience, feed};

/// Applies what is sealed, and nothing else.
struct Reader {
    lines: Lines<FeedLine>,
    unsealed: Unsealed,
    /// Changes that are not sealed yet.
    held: Vec<FeedLine>,
    table: Table,
    /// A table that has begun and not ended.
    incoming: Table,
}

struct Lines<L> {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    /// Each with its text.
    waiting: Vec<(Vec<u8>, L)>,
    /// Of a line that has not ended yet.
    rest: Vec<u8>,
}

impl<L: serde::de::DeserializeOwned> Lines<L> {
    async fn open(tenancy: &Tenancy, audience: Audience, since: Option<u64>) -> anyhow::Result<Self> {
        Ok(Self { stream: Box::pin(feed(tenancy, audience, since).await?), waiting: Vec::new(), rest: Vec::new() })
    }

    async fn next(&mut self) -> anyhow::Result<L> {
        Ok(self.next_with_text().await?.1)
    }

    async fn next_with_text(&mut self) -> anyhow::Result<(Vec<u8>, L)> {
        while self.waiting.is_empty() {
            let piece = self.stream.next().await.context("the feed ended")??;
            self.rest.extend_from_slice(&piece);
            let whole = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            let lines = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            let read = |line: &[u8]| Ok::<_, serde_json::Error>((line.to_vec(), serde_json::from_slice(line)?));
            self.waiting = lines.map(read).collect::<Result<_, _>>()?;
        }
        Ok(self.waiting.remove(0))
    }
}

impl Reader {
    async fn open(tenancy: &Tenancy, since: Option<u64>) -> anyhow::Result<Self> {
        let lines = Lines::open(tenancy, Audience::Router, since).await?;
        let (unsealed, held) = (Unsealed::default(), Vec::new());
        Ok(Self { lines, unsealed, held, table: Table::default(), incoming: Table::default() })
    }

    /// Reads a line. The lines that it seals, if it does.
    async fn line(&mut self) -> anyhow::Result<Option<Vec<FeedLine>>> {
        let (text, line) = self.lines.next_with_text().await?;
        let FeedLine::Seal { kid, signature } = &line else {
            self.unsealed.add(&[&text[..], b"\n"].concat());
            self.held.push(line);
            return Ok(None);
        };
        assert_eq!((kid.as_str(), signature), ("k1", &digest(&self.unsealed.statement())));
        let lines = std::mem::take(&mut self.held);
        lines.iter().try_for_each(|line| self.apply(line))?;
        Ok(Some(lines))
    }

    /// The lines up to the next seal.
    async fn next(&mut self) -> anyhow::Result<Vec<FeedLine>> {
        loop {
            if let Some(lines) = self.line().await? {
                return Ok(lines);
            }
        }
    }

    fn apply(&mut self, line: &FeedLine) -> Done {
        match line {
            FeedLine::Begin { version, cells, tiers, removed, groups } => {
                let cells = cells.iter().map(|endpoint| (endpoint.cell.clone(), endpoint.clone())).collect();
                let tiers = tiers.iter().map(|tier| (tier.tier.clone(), tier.clone())).collect();
                let (groups, removed) = (groups.clone(), *removed);
                self.incoming = Table { version: *version, cells, tiers, removed, groups, ..Table::default() };
            }
            FeedLine::Routes { routes } => {
                let routes = routes.iter().map(|route| (route.tenant.clone(), route.clone()));
                self.incoming.routes.extend(routes);
            }
            FeedLine::End { version, tenants } => {
                let came = (self.incoming.version, self.incoming.routes.len() as u64);
                assert_eq!(came, (*version, *tenants));
                self.table = std::mem::take(&mut self.incoming);
            }
            FeedLine::Delta { version, change } => self.table.apply(*version, change)?,
            FeedLine::Heartbeat { version } => assert_eq!(*version, self.table.version, "a heartbeat runs ahead"),
            FeedLine::Seal { .. } => unreachable!(),
        }
        Ok(())
    }

    /// A whole table comes first.
    async fn whole(&mut self) -> Done {
        let lines = self.next().await?;
        assert!(matches!(lines[..], [FeedLine::Begin { .. }, .., FeedLine::End { .. }]), "{lines:?}");
        Ok(())
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
    reader.whole().await?;
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
    assert!(matches!(reader.next().await?[..], [FeedLine::Delta { .. }]));
    assert_eq!(reader.table, snapshot(&site.tenancy.0.pool).await?);
    let mut ahead = Reader::open(&site.tenancy, Some(1_000_000)).await?;
    ahead.whole().await.context("a reader ahead of the log starts again")?;
    let mut level = Reader::open(&site.tenancy, Some(reader.table.version)).await?;
    level.table = reader.table.clone();
    assert!(matches!(level.next().await?[..], [FeedLine::Heartbeat { .. }]), "the first line comes at once");
    Ok(())
}

#[tokio::test]
async fn a_change_made_by_another_process_wakes_the_readers() -> Done {
    let site = site().await?;
    let second = start(&site.tenancy.0.pool).await?;
    let mut reader = Reader::open(&second.tenancy, None).await?;
    reader.whole().await?;
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
    let narrow = Tenancy::new(site.tenancy.0.pool.clone(), settings, Arc::new(Notary));
    let first = Reader::open(&narrow, None).await?;
    assert!(matches!(feed(&narrow, Audience::Router, None).await.map(drop), Err(Error::TooManyReaders)));
    drop(first);
    assert!(feed(&narrow, Audience::Router, None).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_cell_hears_of_its_own_tenants_and_of_no_other() -> Done {
    let site = site().await?;
    let made = |name: &'static str, to: &'static str| {
        let tenancy = site.tenancy.clone();
        async move { tenants::create(&tenancy, &platform(), &tenant(name), born("acme-corp", Some(to), None)).await }
    };
    let (acme, _) = made("acme", "shared-1").await?;
    made("other", "dedicated-1").await?;
    let mut lines = Lines::open(&site.tenancy, Audience::Cell(cell("shared-1")), None).await?;
    let whole: PlacementLine = lines.next().await?;
    let PlacementLine::Tenants { version, tenants: listed, last: true, .. } = whole else { bail!("{whole:?}") };
    let here = |tenant: &Tenant| Generation(tenant.generation.unsigned_abs());
    assert_eq!(listed, [(tenant("acme"), here(&acme))]);

    made("another", "dedicated-1").await?;
    let (newer, _) = made("newer", "shared-1").await?;
    tenants::remove(&site.tenancy, &platform(), &tenant("acme")).await?;
    let came: PlacementLine = lines.next().await?;
    let PlacementLine::Changed { version: first, after, tenant: who, place } = came else { bail!("{came:?}") };
    assert_eq!((after, who, place), (version, tenant("newer"), Place::Here { generation: here(&newer) }));
    let gone: PlacementLine = lines.next().await?;
    let PlacementLine::Changed { version: second, after, tenant: who, place } = gone else { bail!("{gone:?}") };
    assert_eq!((after, who, place), (first, tenant("acme"), Place::Gone));

    // What was changed elsewhere meanwhile is not missed: the next line says that there is nothing more.
    made("last", "dedicated-1").await?;
    let head = snapshot(&site.tenancy.0.pool).await?.version;
    let mut again: Lines<PlacementLine> =
        Lines::open(&site.tenancy, Audience::Cell(cell("shared-1")), Some(second)).await?;
    assert_eq!(again.next().await?, PlacementLine::Heartbeat { version: head });
    Ok(())
}

/// So many tenants more, without the log's knowing.
async fn crowd(site: &Process, count: i32) -> Done {
    for insert in [
        "insert into tenants (id, organisation, cell, generation)
         select 'many-' || lpad(n::text, 5, '0'), 'acme-corp', 'shared-1', 1000000 + n from generate_series(1, $1) n",
        "insert into hosts (host, tenant, own)
         select 'many-' || lpad(n::text, 5, '0') || '.localhost', 'many-' || lpad(n::text, 5, '0'), true
         from generate_series(1, $1) n",
    ] {
        sqlx::query(insert).bind(count).execute(&site.tenancy.0.pool).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_large_table_comes_in_pieces_and_its_readers_are_sent_the_same_one() -> Done {
    let site = site().await?;
    crowd(&site, 3_000).await?;
    let mut first = Reader::open(&site.tenancy, None).await?;
    let mut slow = Reader::open(&site.tenancy, None).await?;
    assert!(slow.line().await?.is_none());
    first.whole().await?;
    create(&site.tenancy, "acme", "acme-corp").await?;
    let mut late = Reader::open(&site.tenancy, None).await?;
    late.whole().await?;
    assert_eq!(late.table, first.table, "the one that is still being sent is sent to others too");
    slow.whole().await?;
    assert_eq!(slow.table, first.table, "what happens meanwhile is not in it");
    let now = snapshot(&site.tenancy.0.pool).await?;
    assert_eq!(now.routes.len(), 3_001);
    for mut reader in [first, slow, late] {
        reader.until(now.version).await?;
        assert_eq!(reader.table, now);
    }
    Ok(())
}

#[tokio::test]
async fn a_long_list_of_a_cell_comes_in_pieces_and_ends() -> Done {
    let site = site().await?;
    let count = 2_000;
    crowd(&site, count).await?;
    let mut lines = Lines::open(&site.tenancy, Audience::Cell(cell("shared-1")), None).await?;
    let mut listed = Vec::new();
    loop {
        match lines.next().await? {
            PlacementLine::Tenants { tenants, last, .. } => {
                listed.extend(tenants);
                if last {
                    break;
                }
            }
            other => bail!("{other:?} before the list's end"),
        }
    }
    assert_eq!(listed.len(), usize::try_from(count)?);
    assert!(listed.is_sorted(), "each once, in order");
    Ok(())
}
