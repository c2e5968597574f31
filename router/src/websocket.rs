//! Requests for a WebSocket (RFC 6455, 4.1). Pure.

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};

/// How a browser says its token: it can give a WebSocket no header but its protocols.
const BEARER: &str = "bearer.";

/// Whether the request asks for one. Any other upgrade is not asked for here, and its request is answered as it is.
pub fn is_asked_for(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let names = |name, wanted| items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted));
    *method == Method::GET
        && version == Version::HTTP_11
        && names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// Takes a token out of the offered protocols and puts it where tokens are. One beside an `authorization` is taken out and
/// is none: the header is what the client is known by.
pub fn unwrap_token(headers: &mut HeaderMap) {
    let (tokens, others): (Vec<String>, Vec<String>) = items(headers, SEC_WEBSOCKET_PROTOCOL)
        .map(str::to_owned)
        .partition(|item| item.get(..BEARER.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(BEARER)));
    if tokens.is_empty() {
        return;
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    // What came in a header fits into one.
    if let Ok(rest) = HeaderValue::from_str(&others.join(", "))
        && !others.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
    }
    if headers.contains_key(AUTHORIZATION) {
        return;
    }
    for token in tokens {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", &token[BEARER.len()..])) {
            value.set_sensitive(true);
            // Two tokens are two credentials: the decision refuses them.
            headers.append(AUTHORIZATION, value);
        }
    }
}

/// The items of a list, over all lines of its header.
fn items(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in of {
            all.append(*name, HeaderValue::from_static(value));
        }
        all
    }

    const ASKED: &[(&str, &str)] = &[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];

    #[test]
    fn a_websocket_is_asked_for_with_a_get_over_http_1_1_that_has_no_body() {
        let is = |method: &Method, version, of: &[(&'static str, &'static str)]| {
            is_asked_for(method, version, &headers(of))
        };
        assert!(is(&Method::GET, Version::HTTP_11, ASKED));
        assert!(!is(&Method::POST, Version::HTTP_11, ASKED));
        assert!(!is(&Method::GET, Version::HTTP_2, ASKED));
        assert!(!is(&Method::GET, Version::HTTP_11, &ASKED[..1]));
        assert!(!is(&Method::GET, Version::HTTP_11, &ASKED[1..]));
        assert!(!is(&Method::GET, Version::HTTP_11, &[ASKED[0], ("upgrade", "h2c")]));
        for body in [("content-length", "0"), ("transfer-encoding", "chunked")] {
            assert!(!is(&Method::GET, Version::HTTP_11, &[ASKED[0], ASKED[1], body]));
        }
    }

    #[test]
    fn a_browsers_token_becomes_the_requests() {
        let after = |of: &[(&'static str, &'static str)]| {
            let mut all = headers(of);
            unwrap_token(&mut all);
            let of = |name| all.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>().join("|");
            (of(AUTHORIZATION), of(SEC_WEBSOCKET_PROTOCOL))
        };
        let told = |authorization: &str, protocols: &str| (authorization.to_owned(), protocols.to_owned());
        let protocols = "sec-websocket-protocol";
        assert_eq!(after(&[(protocols, "cyto, bearer.a.b-c_d")]), told("Bearer a.b-c_d", "cyto"));
        assert_eq!(after(&[(protocols, "Bearer.x")]), told("Bearer x", ""));
        assert_eq!(after(&[(protocols, "cyto")]), told("", "cyto"));
        assert_eq!(after(&[(protocols, "bearer.x"), ("authorization", "Bearer y")]), told("Bearer y", ""));
        assert_eq!(after(&[(protocols, "bearer.x, a"), (protocols, "bearer.y")]), told("Bearer x|Bearer y", "a"));
    }
}
