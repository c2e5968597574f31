//! Text to values. Inference and conversion ask the same functions, so they never disagree.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// `true` or `false`, whatever the case.
pub fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A leading zero marks a code (`007`, a postal code), not a number: reading it as one would lose it.
fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

pub fn int64(text: &str) -> Option<i64> {
    if is_code(text) { None } else { text.parse().ok() }
}

/// Decimal or scientific notation; not `inf` or `nan`, which in data are words.
pub fn float64(text: &str) -> Option<f64> {
    let numeric =
        text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) && text.bytes().any(|b| b.is_ascii_digit());
    if !numeric || is_code(text) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Whether a float holds a whole number as it is written. One that it would round is an identifier.
pub fn float_keeps(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    digits.parse::<u128>().is_ok_and(|whole| whole as f64 as u128 == whole)
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    Some(calendar(text)?.to_julian_day() - UNIX_EPOCH_JULIAN_DAY)
}

const UNIX_EPOCH_JULIAN_DAY: i32 = 2_440_588;

fn calendar(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(text.get(0..4)?)?;
    let month = Month::try_from(u8::try_from(digits(text.get(5..7)?)?).ok()?).ok()?;
    let day = u8::try_from(digits(text.get(8..10)?)?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, `T` or a space between; microseconds since 1970-01-01T00:00:00.
pub fn timestamp(text: &str) -> Option<i64> {
    let (moment, zone) = moment(text)?;
    zone.is_none().then(|| micros(moment.assume_utc()))
}

/// The same with `Z` or `±HH[:]MM` behind it; microseconds since 1970-01-01T00:00:00Z.
pub fn timestamptz(text: &str) -> Option<i64> {
    let (moment, zone) = moment(text)?;
    Some(micros(moment.assume_offset(zone?)))
}

fn micros(at: OffsetDateTime) -> i64 {
    // Four-digit years stay far inside i64 microseconds.
    (at.unix_timestamp_nanos() / 1_000) as i64
}

fn moment(text: &str) -> Option<(PrimitiveDateTime, Option<UtcOffset>)> {
    let date = calendar(text.get(0..10)?)?;
    if !matches!(text.as_bytes().get(10), Some(b'T' | b' ')) {
        return None;
    }
    let rest = text.get(11..)?;
    let cut = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(cut);
    let zone = if zone.is_empty() { None } else { Some(offset(zone)?) };
    Some((date.with_time(time_of_day(clock)?), zone))
}

fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (two(parts.next()?)?, two(parts.next()?)?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let Some(second) = second else { return Time::from_hms(hour, minute, 0).ok() };
    let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scaled = digits(fraction)?.checked_mul(10_u32.pow(9 - fraction.len() as u32))?;
    // Below a microsecond nothing can be kept, so it must not be there.
    if scaled % 1_000 != 0 {
        return None;
    }
    Time::from_hms_nano(hour, minute, two(whole)?, scaled).ok()
}

fn two(text: &str) -> Option<u8> {
    if text.len() == 2 { u8::try_from(digits(text)?).ok() } else { None }
}

fn offset(text: &str) -> Option<UtcOffset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(UtcOffset::UTC);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let compact: String = rest.chars().filter(|c| *c != ':').collect();
    let well_formed = rest.len() == compact.len() || rest.as_bytes().get(2) == Some(&b':');
    let (hours, minutes) = match (well_formed, compact.len()) {
        (true, 2) => (two(&compact)?, 0),
        (true, 4) => (two(compact.get(0..2)?)?, two(compact.get(2..4)?)?),
        _ => return None,
    };
    UtcOffset::from_hms(sign * i8::try_from(hours).ok()?, sign * i8::try_from(minutes).ok()?, 0).ok()
}
