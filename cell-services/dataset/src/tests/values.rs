use serde_json::json;

use crate::domain::column::{ColumnsError, check_names};
use crate::domain::{ColumnKind, Guess, value};

fn guess(values: &[&str]) -> ColumnKind {
    let mut guess = Guess::default();
    values.iter().for_each(|text| guess.text(text));
    guess.kind()
}

#[test]
fn a_column_has_the_narrowest_type_that_fits_all_its_values() {
    assert_eq!(guess(&["TRUE", "false"]), ColumnKind::Boolean);
    assert_eq!(guess(&["1", "-7", "9223372036854775807"]), ColumnKind::Int64);
    assert_eq!(guess(&["1", "2.5", "-1e3"]), ColumnKind::Float64);
    assert_eq!(guess(&["9223372036854775808"]), ColumnKind::Float64);
    assert_eq!(guess(&["2013-01-31"]), ColumnKind::Date);
    assert_eq!(guess(&["2013-01-01 05:00:00", "2013-01-01T05:00"]), ColumnKind::Timestamp);
    assert_eq!(guess(&["2013-01-01T10:00:00Z", "2013-01-01T10:00:00.5+01:00"]), ColumnKind::Timestamptz);
    assert_eq!(guess(&["1", "x"]), ColumnKind::String);
    assert_eq!(guess(&["2013-01-01", "2013-01-01T10:00:00Z"]), ColumnKind::String);
    assert_eq!(guess(&[]), ColumnKind::String);
}

#[test]
fn an_identifier_that_a_float_would_round_stays_a_text() {
    assert_eq!(guess(&["18446744073709551615"]), ColumnKind::String);
    assert_eq!(guess(&["0.5", "9007199254740993"]), ColumnKind::String);
    assert_eq!(guess(&["0.5", "9007199254740992", "1e300"]), ColumnKind::Float64);
    let mut member = Guess::default();
    member.json(&json!(18_446_744_073_709_551_615_u64));
    assert_eq!(member.kind(), ColumnKind::String);
}

#[test]
fn codes_and_words_are_not_numbers() {
    for text in [
        "007", "-01", "00", "01.5", "1_000", " 1", "1 ", "0x10", "inf", "NaN", "infinity", "1e999", "", "-", ".", "e",
        "+",
    ] {
        assert_eq!(guess(&[text]), ColumnKind::String, "{text}");
    }
    for text in ["0", "-0", "10", "+5"] {
        assert_eq!(guess(&[text]), ColumnKind::Int64, "{text}");
    }
    assert_eq!(guess(&["0.5"]), ColumnKind::Float64);
}

#[test]
fn moments_are_read_exactly() {
    assert_eq!(value::date("1970-01-01"), Some(0));
    assert_eq!(value::date("1969-12-31"), Some(-1));
    assert_eq!(value::date("2013-01-01"), Some(15_706));
    assert_eq!(value::timestamp("1970-01-01T00:00:01.000001"), Some(1_000_001));
    assert_eq!(value::timestamp("1969-12-31 23:59:59"), Some(-1_000_000));
    assert_eq!(value::timestamptz("1970-01-01T01:00:00+01:00"), Some(0));
    assert_eq!(value::timestamptz("1970-01-01T00:00:00-0130"), Some(5_400_000_000));
    for bad in [
        "2013-02-29",
        "2013-13-01",
        "2013-1-1",
        "13-01-01",
        "2013/01/01",
        "2013-01-01x",
        "2013-01-01T",
        "2013-01-01T24:00",
        "2013-01-01T10:00:60",
        "2013-01-01T10",
        "2013-01-01T10:00:00.",
        "2013-01-01T10:00:00.1234567",
        "2013-01-01T1:00:00",
        "2013-01-01T10:00:00+1",
        "2013-01-01T10:00:00+99:00",
        "2013-01-0\u{e9}",
        "",
    ] {
        assert_eq!(value::date(bad), None, "{bad}");
        assert_eq!(value::timestamp(bad), None, "{bad}");
        assert_eq!(value::timestamptz(bad), None, "{bad}");
    }
}

#[test]
fn json_has_its_own_words_for_numbers_and_booleans() {
    let guess = |values: &[serde_json::Value]| {
        let mut guess = Guess::default();
        values.iter().for_each(|member| guess.json(member));
        guess.kind()
    };
    assert_eq!(guess(&[json!(1), json!(null)]), ColumnKind::Int64);
    assert_eq!(guess(&[json!(1), json!(1.5)]), ColumnKind::Float64);
    assert_eq!(guess(&[json!(true)]), ColumnKind::Boolean);
    assert_eq!(guess(&[json!("1")]), ColumnKind::String);
    assert_eq!(guess(&[json!("2013-01-01")]), ColumnKind::Date);
    assert_eq!(guess(&[json!([1]), json!({ "a": 1 })]), ColumnKind::String);
    assert_eq!(guess(&[json!(1), json!("x")]), ColumnKind::String);
}

#[test]
fn columns_are_told_apart_by_name() {
    let check = |names: &[&str]| check_names(names.iter().copied(), 3);
    assert_eq!(check(&["a", "b"]), Ok(()));
    assert_eq!(check(&[]), Err(ColumnsError::None));
    assert_eq!(check(&["a", ""]), Err(ColumnsError::Unnamed(2)));
    assert_eq!(check(&["a", "A"]), Err(ColumnsError::Twice("A".into())));
    assert_eq!(check(&["a", "b", "c", "d"]), Err(ColumnsError::TooMany(4, 3)));
    assert_eq!(check(&["a\nb"]), Err(ColumnsError::Name(1)));
}
