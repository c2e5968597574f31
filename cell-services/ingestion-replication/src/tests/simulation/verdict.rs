//! What must be true when a run has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use contracts::TenantId;
use contracts::events::STREAMING_RECORD_ACCEPTED;
use futures::TryStreamExt;
use object_store::ObjectStore;
use uuid::Uuid;

use super::catalog::Entry;
use super::others;
use super::topic::{Kept, Truth};
use super::world::World;
use crate::domain::progress::Progress;
use crate::domain::{OFFSET_COLUMN, OFFSETS_PROPERTY, PARTITION_COLUMN, Place, STREAM_PROPERTY};

struct Row {
    place: Place,
    id: i64,
}

pub fn of(world: &World) -> Result<(), String> {
    if let Some(reason) = world.broken.lock().clone() {
        return Err(reason);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (live, dropped) = tables(world);
        let mut ids = Ids::new();
        let all = live.iter().map(|e| (e, true)).chain(dropped.iter().map(|e| (e, false)));
        for (entry, lives) in all.filter(|(entry, _)| !is_spoilt(world, owner(entry))) {
            let rows = rows_of(world, entry).await?;
            once_and_own(world, entry, &rows)?;
            if lives {
                progress(world, entry, &rows)?;
            }
            add(&mut ids, entry, &rows);
        }
        nothing_missing(world, &ids)?;
        letters(world)?;
        told(world, live.iter().chain(&dropped))?;
        orphans(world, live.iter().chain(&dropped)).await
    })
}

/// Those there are, and those that were dropped.
fn tables(world: &World) -> (Vec<Entry>, Vec<Entry>) {
    let tables = world.tables.lock();
    (tables.live.values().cloned().collect(), tables.dropped.clone())
}

/// Rows that are in tables, by stream.
type Ids = BTreeMap<Uuid, BTreeSet<i64>>;

fn add(ids: &mut Ids, entry: &Entry, rows: &[Row]) {
    ids.entry(owner(entry)).or_default().extend(rows.iter().map(|row| row.id));
}

pub async fn ids(world: &World) -> Result<Ids, String> {
    let mut ids = Ids::new();
    let (live, dropped) = tables(world);
    for entry in live.iter().chain(&dropped).filter(|entry| !is_spoilt(world, owner(entry))) {
        add(&mut ids, entry, &rows_of(world, entry).await?);
    }
    Ok(ids)
}

fn owner(entry: &Entry) -> Uuid {
    entry.metadata.properties().get(STREAM_PROPERTY).and_then(|id| id.parse().ok()).unwrap_or_default()
}

/// A table without its owner's mark is spoilt too.
pub fn is_spoilt(world: &World, stream: Uuid) -> bool {
    stream.is_nil() || world.spoilt.lock().contains(&stream)
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

async fn rows_of(world: &World, entry: &Entry) -> Result<Vec<Row>, String> {
    let bucket = world.bucket().tenant(&TenantId::new(&*entry.tenant).unwrap());
    let batches = others::read(&bucket, entry).await?;
    Ok(batches.iter().flat_map(rows_in).collect())
}

fn rows_in(batch: &RecordBatch) -> Vec<Row> {
    let column = |name| batch.column_by_name(name).unwrap();
    let partitions = column(PARTITION_COLUMN).as_primitive::<Int32Type>();
    let (offsets, ids) = (column(OFFSET_COLUMN).as_primitive::<Int64Type>(), column("id").as_primitive::<Int64Type>());
    let row =
        |at| Row { place: Place { partition: partitions.value(at), offset: offsets.value(at) }, id: ids.value(at) };
    (0..batch.num_rows()).map(row).collect()
}

/// Every record there ever was, with its place.
pub fn records(partitions: &[Vec<Kept>]) -> impl Iterator<Item = (Place, &Kept)> {
    (0..).zip(partitions).flat_map(|(partition, records)| {
        (0..).zip(records).map(move |(offset, kept)| (Place { partition, offset }, kept))
    })
}

/// No row is in a table twice, and each is one of the table's own stream, at its own place.
fn once_and_own(world: &World, entry: &Entry, rows: &[Row]) -> Result<(), String> {
    let topic = world.topic.lock();
    let lives = topic.deleted.iter().map(|d| &d.partitions).chain([&topic.partitions]);
    let own: BTreeMap<i64, Place> = lives
        .flat_map(|partitions| records(partitions))
        .filter_map(|(place, kept)| match kept.truth {
            Truth::Row { stream, id } if stream == owner(entry) => Some((id, place)),
            _ => None,
        })
        .collect();
    let mut seen = BTreeSet::new();
    for row in rows {
        ensure(seen.insert(row.id), || format!("{} has row {} twice", entry.name, row.id))?;
        ensure(own.get(&row.id) == Some(&row.place), || {
            format!("{} has row {} that is not its own", entry.name, row.id)
        })?;
    }
    let total = entry.metadata.current_snapshot().and_then(|s| s.summary().additional_properties.get("total-records"));
    ensure(total.is_none_or(|t| *t == rows.len().to_string()), || {
        format!("{} miscounts its rows: {total:?}", entry.name)
    })
}

/// Every row of the present topic is in a table of its stream.
fn nothing_missing(world: &World, ids: &Ids) -> Result<(), String> {
    let topic = world.topic.lock();
    for (place, kept) in records(&topic.partitions) {
        if let Truth::Row { stream, id } = kept.truth {
            let found = is_spoilt(world, stream) || ids.get(&stream).is_some_and(|ids| ids.contains(&id));
            ensure(found, || format!("row {id} at {place:?} is in no table of stream {stream}"))?;
        }
    }
    Ok(())
}

/// Progress and rows are one fact: what lies below the progress is in, what is in lies below it.
fn progress(world: &World, entry: &Entry, rows: &[Row]) -> Result<(), String> {
    let Some(text) = entry.metadata.properties().get(OFFSETS_PROPERTY) else {
        return ensure(rows.is_empty(), || format!("{} has rows and no progress", entry.name));
    };
    let topic = world.topic.lock();
    let read = |id: &str| {
        let topic = crate::domain::progress::Topic { id: id.to_owned(), former: BTreeSet::new() };
        Progress::of_table(Some(text), STREAMING_RECORD_ACCEPTED, &topic)
    };
    let Ok(progress) = read(&topic.id) else {
        let old = topic.deleted.iter().any(|deleted| read(&deleted.id).is_ok());
        return ensure(old, || format!("{} has an unknown progress: {text}", entry.name));
    };
    let present: BTreeSet<i64> = records(&topic.partitions)
        .filter_map(|(_, kept)| match kept.truth {
            Truth::Row { id, .. } => Some(id),
            Truth::Poison => None,
        })
        .collect();
    for row in rows.iter().filter(|row| present.contains(&row.id)) {
        ensure(progress.covers(row.place), || format!("{} has row {} beyond its progress", entry.name, row.id))?;
    }
    let summary =
        entry.metadata.current_snapshot().and_then(|s| s.summary().additional_properties.get(OFFSETS_PROPERTY));
    ensure(summary.is_none_or(|mark| mark == text), || format!("{} says two things of its progress", entry.name))
}

/// Poison is in the dead letters, all of it and nothing else.
fn letters(world: &World) -> Result<(), String> {
    let (topic, letters) = (world.topic.lock(), world.letters.lock());
    let poison = |partitions: &[Vec<Kept>]| -> BTreeSet<(i32, i64)> {
        records(partitions)
            .filter(|(_, kept)| kept.truth == Truth::Poison)
            .map(|(place, _)| (place.partition, place.offset))
            .collect()
    };
    let present = poison(&topic.partitions);
    let former: BTreeSet<(i32, i64)> = topic.deleted.iter().flat_map(|d| poison(&d.partitions)).collect();
    let spoilt: BTreeSet<(i32, i64)> = records(&topic.partitions)
        .filter(|(_, kept)| matches!(kept.truth, Truth::Row { stream, .. } if is_spoilt(world, stream)))
        .map(|(place, _)| (place.partition, place.offset))
        .collect();
    for (partition, offset) in &present {
        let found = letters.contains(&(topic.id.clone(), *partition, *offset));
        ensure(found, || format!("poison at {partition}/{offset} is in no dead letter"))?;
    }
    for (_, partition, offset) in letters.iter() {
        let place = (*partition, *offset);
        let poisoned = present.contains(&place) || former.contains(&place) || spoilt.contains(&place);
        ensure(poisoned, || format!("a good row at {partition}/{offset} was given up"))?;
    }
    Ok(())
}

/// Nobody is told of a commit that never was.
fn told<'a>(world: &World, entries: impl Iterator<Item = &'a Entry>) -> Result<(), String> {
    let known: BTreeSet<(Uuid, i64)> =
        entries.flat_map(|entry| entry.snapshots.iter().map(|id| (owner(entry), *id))).collect();
    let told = world.told.lock();
    match told.difference(&known).find(|(stream, _)| !is_spoilt(world, *stream)) {
        None => Ok(()),
        Some((stream, snapshot)) => Err(format!("{stream} was told of snapshot {snapshot}, which never was")),
    }
}

/// A file that no snapshot ever had was left by a process that had its reason.
async fn orphans<'a>(world: &World, entries: impl Iterator<Item = &'a Entry>) -> Result<(), String> {
    // Whoever spoils a table may take away what would name its files.
    if !world.spoilt.lock().is_empty() {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    for entry in entries {
        let bucket = world.bucket().tenant(&TenantId::new(&*entry.tenant).unwrap());
        for list in &entry.lists {
            known.insert(bucket.path_of(list).unwrap().to_string());
            known.extend(others::named_by(&bucket, list).await?);
        }
    }
    let objects: Vec<String> =
        world.objects.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    for object in objects {
        let by = world.puts.lock().get(&object).copied();
        let excused = by.is_none_or(|process| world.processes.lock()[process].excused);
        ensure(excused || known.contains(&object), || format!("{object} is an orphan without a reason"))?;
    }
    Ok(())
}
