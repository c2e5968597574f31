mod hostile;
mod intake;
mod postgres;
mod values;

use time::{Duration, OffsetDateTime};

use kit::service::Service;

use crate::domain::name::{check_dataset, check_file};
use crate::domain::transaction::{Verdict, Wish, decide};
use crate::domain::{Format, State, TransactionKind};

#[test]
fn a_transaction_ends_once_and_never_opens_again() {
    let now = OffsetDateTime::now_utc();
    for wish in [Wish::AddFile, Wish::Commit, Wish::Abort] {
        assert_eq!(decide(State::Open, wish, None, now), Verdict::Proceed);
    }
    assert_eq!(decide(State::Committed, Wish::Commit, None, now), Verdict::Done);
    assert_eq!(decide(State::Aborted, Wish::Abort, None, now), Verdict::Done);
    for (state, wish) in [
        (State::Committed, Wish::AddFile),
        (State::Committed, Wish::Abort),
        (State::Aborted, Wish::AddFile),
        (State::Aborted, Wish::Commit),
    ] {
        assert_eq!(decide(state, wish, None, now), Verdict::Ended);
    }
}

#[test]
fn only_the_commit_itself_may_be_taken_up_after_its_process_died() {
    let now = OffsetDateTime::now_utc();
    let (alive, dead) = (Some(now + Duration::seconds(5)), Some(now - Duration::seconds(5)));
    for wish in [Wish::AddFile, Wish::Commit, Wish::Abort] {
        assert_eq!(decide(State::Open, wish, alive, now), Verdict::Busy);
    }
    assert_eq!(decide(State::Open, Wish::Commit, dead, now), Verdict::Proceed);
    assert_eq!(decide(State::Open, Wish::Abort, dead, now), Verdict::Busy);
    assert_eq!(decide(State::Open, Wish::AddFile, dead, now), Verdict::Busy);
}

#[test]
fn names_cannot_leave_their_table_or_their_folder() {
    for good in ["a", "flights_2013", &"a".repeat(63)] {
        assert!(check_dataset(good).is_ok(), "{good}");
    }
    for bad in ["", "1a", "Flights", "a-b", "a.b", "a b", "a;drop", "é", &"a".repeat(64)] {
        assert!(check_dataset(bad).is_err(), "{bad}");
    }
    for good in ["a.csv", "2013/01/flights.csv", "..a", "a..b"] {
        assert!(check_file(good).is_ok(), "{good}");
    }
    for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a b", "a%2fb", "é", &"a".repeat(201)] {
        assert!(check_file(bad).is_err(), "{bad}");
    }
}

#[test]
fn formats_are_known_by_name_content_type_and_file_name() {
    assert_eq!(Format::parse("CSV"), Some(Format::Csv));
    assert_eq!(Format::of_content_type("text/csv; charset=utf-8"), Some(Format::Csv));
    assert_eq!(Format::of_content_type("application/octet-stream"), None);
    assert_eq!(Format::of_path("2013/flights.parquet"), Some(Format::Parquet));
    assert_eq!(Format::of_path("flights"), None);
    assert_eq!(TransactionKind::parse("append"), Some(TransactionKind::Append));
    assert_eq!(TransactionKind::parse("UPDATE"), None);
}

#[test]
fn every_route_names_the_scope_it_needs() {
    let document = serde_json::to_value(crate::Datasets.openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["x-cyto-scope"].is_string(), "{method} {path}");
        }
    }
}
