//! Bounds of text and binary columns, cut short as Iceberg's own writers do, and never to the
//! wrong side: no value lies below the lower or above the upper one.

use std::collections::HashMap;

use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};

/// Characters of a text, bytes of a binary value.
const LENGTH: usize = 16;

pub(crate) fn lower(bounds: &HashMap<i32, Datum>) -> HashMap<i32, Datum> {
    bounds.iter().map(|(id, bound)| (*id, cut_down(bound))).collect()
}

/// A bound that cannot be raised is left out, which means: unknown.
pub(crate) fn upper(bounds: &HashMap<i32, Datum>) -> HashMap<i32, Datum> {
    bounds.iter().filter_map(|(id, bound)| Some((*id, cut_up(bound)?))).collect()
}

fn cut_down(bound: &Datum) -> Datum {
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::String, PrimitiveLiteral::String(text)) => Datum::string(prefix(text)),
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) => {
            Datum::binary(bytes.iter().take(LENGTH).copied().collect::<Vec<u8>>())
        }
        _ => bound.clone(),
    }
}

fn cut_up(bound: &Datum) -> Option<Datum> {
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::String, PrimitiveLiteral::String(text)) if prefix(text).len() < text.len() => {
            raised_text(prefix(text)).map(Datum::string)
        }
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) if bytes.len() > LENGTH => {
            raised_bytes(&bytes[..LENGTH]).map(Datum::binary)
        }
        _ => Some(bound.clone()),
    }
}

fn prefix(text: &str) -> &str {
    text.char_indices().nth(LENGTH).map_or(text, |(end, _)| &text[..end])
}

/// The shortest text above every text that begins with `prefix`.
fn raised_text(prefix: &str) -> Option<String> {
    prefix.char_indices().rev().find_map(|(at, last)| {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32)?;
        Some(format!("{}{next}", &prefix[..at]))
    })
}

fn raised_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut raised = prefix[..=at].to_vec();
    raised[at] += 1;
    Some(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> (Datum, Option<Datum>) {
        (cut_down(&Datum::string(value)), cut_up(&Datum::string(value)))
    }

    #[test]
    fn a_cut_text_stays_on_its_side() {
        assert_eq!(text("short"), (Datum::string("short"), Some(Datum::string("short"))));
        assert_eq!(text(&"a".repeat(17)).0, Datum::string("a".repeat(16)));
        assert_eq!(text(&"a".repeat(17)).1, Some(Datum::string(format!("{}b", "a".repeat(15)))));
        let surrogates = format!("{}\u{d7ff}x", "a".repeat(15));
        assert_eq!(text(&surrogates).1, Some(Datum::string(format!("{}\u{e000}", "a".repeat(15)))));
        let highest = format!("a{}x", char::MAX.to_string().repeat(15));
        assert_eq!(text(&highest).1, Some(Datum::string("b")));
        assert_eq!(text(&char::MAX.to_string().repeat(17)).1, None);
    }

    #[test]
    fn cut_bytes_stay_on_their_side() {
        let bytes = |value: Vec<u8>| (cut_down(&Datum::binary(value.clone())), cut_up(&Datum::binary(value)));
        assert_eq!(bytes(vec![7; 17]).0, Datum::binary(vec![7; 16]));
        assert_eq!(bytes([vec![7; 15], vec![255, 1]].concat()).1, Some(Datum::binary([vec![7; 14], vec![8]].concat())));
        assert_eq!(bytes(vec![255; 17]).1, None);
        assert_eq!(cut_up(&Datum::long(3)), Some(Datum::long(3)));
    }
}
