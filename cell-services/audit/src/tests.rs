mod postgres;

use contracts::TenantId;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Entry, GENESIS, Hash, Link, Walk, append, hash};
use crate::events::{printable, without_nul};

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn entry(resource: &str) -> Entry {
    Entry {
        seq: 0,
        event_id: Uuid::now_v7(),
        occurred_at: OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap(),
        origin: "audit.entry.recorded.v1/0/1".into(),
        request_id: "r".into(),
        actor: "user:u".into(),
        action: "http.request".into(),
        resource: resource.into(),
        outcome: "allowed".into(),
        status: 200,
        detail: Some(json!({ "b": 1, "a": [true, null] })),
    }
}

fn chain(length: usize) -> Vec<Link> {
    let (mut links, mut head): (Vec<Link>, (u64, Hash)) = (Vec::new(), (0, GENESIS));
    for number in 0..length {
        let link = append(&tenant(), head, entry(&format!("/{number}")));
        head = (link.entry.seq, link.hash);
        links.push(link);
    }
    links
}

fn walk(links: &[Link], head: Option<(u64, Hash)>) -> Walk {
    let mut walk = Walk::default();
    for link in links {
        if !walk.step(&tenant(), link) {
            return walk;
        }
    }
    walk.end(head);
    walk
}

fn head(links: &[Link]) -> Option<(u64, Hash)> {
    links.last().map(|link| (link.entry.seq, link.hash))
}

#[test]
fn an_untouched_chain_holds() {
    let links = chain(5);
    assert_eq!(walk(&links, head(&links)).broken_at, None);
    assert_eq!(walk(&[], None).broken_at, None);
}

#[test]
fn changing_any_field_of_any_entry_shows() {
    let changes: [fn(&mut Entry); 9] = [
        |e| e.resource.push('x'),
        |e| e.actor = "user:other".into(),
        |e| e.action.clear(),
        |e| e.outcome = "denied".into(),
        |e| e.status = 403,
        |e| e.request_id.push('x'),
        |e| e.detail = None,
        |e| e.occurred_at += time::Duration::microseconds(1),
        |e| e.origin.push('1'),
    ];
    for change in changes {
        let mut links = chain(5);
        let end = head(&links);
        change(&mut links[2].entry);
        assert_eq!(walk(&links, end).broken_at, Some(3));
    }
}

#[test]
fn removing_inserting_swapping_or_cutting_off_entries_shows() {
    let links = chain(5);
    let end = head(&links);
    let mut removed = links.clone();
    removed.remove(2);
    assert_eq!(walk(&removed, end).broken_at, Some(3));
    let mut swapped = links.clone();
    swapped.swap(1, 2);
    assert_eq!(walk(&swapped, end).broken_at, Some(2));
    assert_eq!(walk(&links[..3], end).broken_at, Some(4));
    assert_eq!(walk(&links, None).broken_at, Some(1));
}

#[test]
fn a_forger_has_to_rewrite_everything_after_the_change_and_the_head() {
    let mut links = chain(5);
    let end = head(&links);
    links[2].entry.actor = "user:other".into();
    links[2].hash = hash(&tenant(), &links[2].prev_hash, &links[2].entry);
    assert_eq!(walk(&links, end).broken_at, Some(4));
}

#[test]
fn the_hash_does_not_depend_on_the_order_of_json_members_and_fields_do_not_run_together() {
    let mut a = entry("/x");
    let mut b = a.clone();
    b.detail = Some(json!({ "a": [true, null], "b": 1 }));
    assert_eq!(hash(&tenant(), &GENESIS, &a), hash(&tenant(), &GENESIS, &b));
    (a.action, a.resource) = ("ab".into(), "c".into());
    (b.action, b.resource) = ("a".into(), "bc".into());
    assert_ne!(hash(&tenant(), &GENESIS, &a), hash(&tenant(), &GENESIS, &b));
    assert_ne!(hash(&tenant(), &GENESIS, &a), hash(&TenantId::new("globex").unwrap(), &GENESIS, &a));
}

#[test]
fn a_nul_character_cannot_stop_the_log() {
    assert_eq!(printable("a\0b"), "a\u{fffd}b");
    assert_eq!(without_nul(json!({ "k\0": ["v\0"] })), json!({ "k\u{fffd}": ["v\u{fffd}"] }));
}
