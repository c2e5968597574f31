//! How an HTTP/1 request says where it ends and what it is for. Read more strictly than pingora reads it: what two
//! readers could take for different requests is nobody's. Pure.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};

/// Whether every reader finds the same body, and so the same next request (RFC 9112, 6 and 11.2).
pub fn is_plain(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let (length, coding) = (lengths.next(), codings.next());
    if lengths.next().is_some() || codings.next().is_some() {
        return false;
    }
    match (length, coding) {
        (Some(_), Some(_)) => false,
        (Some(length), None) => is_number(length.trim_ascii()),
        (None, Some(coding)) => coding.trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (None, None) => true,
    }
}

/// Digits and nothing else, small enough for every reader.
fn is_number(text: &[u8]) -> bool {
    (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Whether a target is a path, an address of this scheme, or everything (RFC 9112, 3.2): pingora puts a slash before what
/// is none of them.
pub fn is_target(target: &[u8], method: &Method) -> bool {
    let begins = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    target.starts_with(b"/")
        || begins(b"http://")
        || begins(b"https://")
        || (target == b"*" && *method == Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn appended(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for value in values {
            all.append(name, HeaderValue::from_static(value));
        }
        all
    }

    #[test]
    fn a_body_that_could_end_in_two_places_is_none() {
        for good in [&[][..], &[("content-length", "0")], &[("transfer-encoding", "Chunked")]] {
            assert!(is_plain(&headers(good)), "{good:?}");
        }
        for value in ["", "+5", "5,5", "0x5", "5 5", "-0", "18446744073709551616"] {
            assert!(!is_plain(&headers(&[("content-length", value)])), "{value}");
        }
        for value in ["chunked,chunked", "chunked, gzip", "gzip, chunked", "xchunked", "identity", "chunked;a=b", ""] {
            assert!(!is_plain(&headers(&[("transfer-encoding", value)])), "{value}");
        }
        assert!(!is_plain(&headers(&[("content-length", "5"), ("transfer-encoding", "chunked")])));
        assert!(!is_plain(&appended("content-length", &["5", "5"])));
        assert!(!is_plain(&appended("transfer-encoding", &["chunked", "chunked"])));
    }

    #[test]
    fn a_target_is_a_path_an_address_or_everything() {
        let is = |target: &str| is_target(target.as_bytes(), &Method::GET);
        assert!(is("/") && is("/a?b") && is("http://a/b") && is("HTTPS://a"));
        assert!(!is("") && !is("a/b") && !is("?q=1") && !is("*") && !is("ftp://a") && !is("a:80"));
        assert!(is_target(b"*", &Method::OPTIONS));
    }
}
